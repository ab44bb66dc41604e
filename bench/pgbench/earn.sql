-- Earning points as one would write it by hand: one transaction, one statement per row, on Huika's own tables.
-- Every statement writes what Huika writes for one command, in values of the same length. What Huika computes
-- (hashes, JSON) is constant here, which is in favour of this baseline. Member ids are spread over the whole
-- range, as Huika's are. The SELECT reads what the caller is answered and the number of the entry.
\set member_id random(1, :members) * :stride
\set points random(1, 20)
\set posting_id random(1, 9000000000000000000)
\set lot_id random(1, 9000000000000000000)
\set now 1795226400000 + random(1, 1000000)
BEGIN;
UPDATE ledger_account SET available = available + :points, lifetime_in = lifetime_in + :points, sequence = sequence + 1, chain = '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'::bytea, next_change_at = LEAST(next_change_at, 1830268800000) WHERE member_id = :member_id AND asset = 1 AND lifetime_in <= 1000000000000000 - :points;
SELECT available, sequence FROM ledger_account WHERE member_id = :member_id AND asset = 1 \gset account_
INSERT INTO ledger_posting (member_id, posting_id, kind, idem_key, input_hash, reference, actor, effective_at, recorded_at, outcome, trace) VALUES (:member_id, :posting_id, 'earn', 'bench-' || :posting_id, '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'::bytea, '', 'apc_01hpw4v5z6k8f', :now, :now, '[{"asset":"points","kind":"earn","counter_account":"issuance","available_change":10,"available":500010,"lot_id":"lot_01hpw4v5z6k8f"}]', '{"rule":"direct","points":10,"reason":"bench"}');
INSERT INTO ledger_entry (member_id, asset, sequence, posting_id, kind, counter_account, available_change, pending_change, held_change, shortfall, chain) VALUES (:member_id, 1, :account_sequence, :posting_id, 'earn', 'issuance', :points, 0, 0, 0, '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'::bytea);
INSERT INTO ledger_lot (member_id, lot_id, asset, posting_id, amount, remaining, held, expired, state, available_at, release_event, expires_at) VALUES (:member_id, :lot_id, 1, :posting_id, :points, :points, 0, 0, 2, NULL, NULL, 1830268800000);
COMMIT;
