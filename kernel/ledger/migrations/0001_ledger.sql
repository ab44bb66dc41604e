-- Accounts, lots and holds are the present state; postings, entries and lot entries are the history that proves it.

CREATE TABLE ledger_account (
  member_id BIGINT NOT NULL,
  asset BIGINT NOT NULL,
  -- Free to spend; below zero is a deficit that the next credits repay.
  available BIGINT NOT NULL,
  pending BIGINT NOT NULL,
  held BIGINT NOT NULL,
  lifetime_in BIGINT NOT NULL,
  lifetime_out BIGINT NOT NULL,
  -- Number of the last entry. Every write names the one that it read, so that no update is lost.
  sequence BIGINT NOT NULL,
  -- Hash over all entries up to the last.
  chain {bytes(32)} NOT NULL,
  -- No lot or hold changes by time before this moment. May be too early, never too late.
  next_change_at BIGINT NOT NULL,
  CONSTRAINT pk_ledger_account PRIMARY KEY (member_id, asset)
) {clustered};

-- Serves the job that settles what time has changed.
CREATE INDEX ix_ledger_account_next_change_at ON ledger_account (next_change_at);

CREATE TABLE ledger_lot (
  member_id BIGINT NOT NULL,
  lot_id BIGINT NOT NULL,
  asset BIGINT NOT NULL,
  -- The posting that made the lot.
  posting_id BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  -- Not yet spent, expired or taken back; includes what is held.
  remaining BIGINT NOT NULL,
  held BIGINT NOT NULL,
  -- Lost by expiry and not reversed since.
  expired BIGINT NOT NULL,
  -- 1 pending, 2 open, 3 closed.
  state BIGINT NOT NULL,
  -- When a pending lot becomes available. NULL: at once, or by event alone.
  available_at BIGINT,
  -- The event that a pending lot waits for. NULL: none.
  release_event {key(80)},
  -- NULL: never.
  expires_at BIGINT,
  CONSTRAINT pk_ledger_lot PRIMARY KEY (member_id, lot_id)
) {clustered};

-- Serves spending and settlement: the lots of a member's asset that are not closed.
CREATE INDEX ix_ledger_lot_member_id_asset_state ON ledger_lot (member_id, asset, state);

CREATE TABLE ledger_hold (
  member_id BIGINT NOT NULL,
  hold_id BIGINT NOT NULL,
  asset BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  -- Which lots the open amount lies in: JSON pairs of lot and amount. Empty once the hold is closed.
  lots {long_text} NOT NULL,
  lapses_at BIGINT NOT NULL,
  -- 1 open, 2 closed.
  state BIGINT NOT NULL,
  CONSTRAINT pk_ledger_hold PRIMARY KEY (member_id, hold_id)
) {clustered};

-- Serves settlement: the open holds of a member.
CREATE INDEX ix_ledger_hold_member_id_state ON ledger_hold (member_id, state);

CREATE TABLE ledger_posting (
  member_id BIGINT NOT NULL,
  posting_id BIGINT NOT NULL,
  kind {key(32)} NOT NULL,
  idem_key {key(64)} NOT NULL,
  input_hash {bytes(32)} NOT NULL,
  -- What the posting is about, for example a purchase: an id with its prefix.
  reference {key(80)} NOT NULL,
  actor {key(64)} NOT NULL,
  effective_at BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  -- What the caller was answered, as JSON: given again for the same key, read by reversals, hashed by the chain.
  outcome {long_text} NOT NULL,
  -- Why, as JSON that the module of its kind renders. NULL where there is nothing to explain.
  trace {long_text},
  CONSTRAINT pk_ledger_posting PRIMARY KEY (member_id, posting_id),
  CONSTRAINT uq_ledger_posting_member_id_idem_key UNIQUE (member_id, idem_key)
) {clustered};

CREATE TABLE ledger_entry (
  member_id BIGINT NOT NULL,
  asset BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  posting_id BIGINT NOT NULL,
  kind {key(24)} NOT NULL,
  -- The other side of the entry, for liability and breakage.
  counter_account {key(24)} NOT NULL,
  available_change BIGINT NOT NULL,
  pending_change BIGINT NOT NULL,
  held_change BIGINT NOT NULL,
  -- What should have been taken and was not there, under the policy that forgives it.
  shortfall BIGINT NOT NULL,
  chain {bytes(32)} NOT NULL,
  CONSTRAINT pk_ledger_entry PRIMARY KEY (member_id, asset, sequence)
) {clustered};

CREATE TABLE ledger_lot_entry (
  member_id BIGINT NOT NULL,
  posting_id BIGINT NOT NULL,
  lot_id BIGINT NOT NULL,
  remaining_change BIGINT NOT NULL,
  held_change BIGINT NOT NULL,
  CONSTRAINT pk_ledger_lot_entry PRIMARY KEY (member_id, posting_id, lot_id)
) {clustered};

CREATE TABLE ledger_reversal (
  member_id BIGINT NOT NULL,
  source_posting_id BIGINT NOT NULL,
  posting_id BIGINT NOT NULL,
  CONSTRAINT pk_ledger_reversal PRIMARY KEY (member_id, source_posting_id, posting_id)
) {clustered};
