-- Which member an anonymous purchase became known to be of. Its own rows stay where they are; the member has a purchase
-- of its own for it.

CREATE TABLE orders_claim (
  -- The drawn number that the anonymous purchase has in place of a member. One row for each: who is first has it.
  member_id BIGINT NOT NULL,
  purchase_id BIGINT NOT NULL,
  -- The member.
  claimant_id BIGINT NOT NULL,
  -- The member's purchase.
  claim_purchase_id BIGINT NOT NULL,
  -- What the anonymous purchase was worth then, refunds deducted.
  amount_minor BIGINT NOT NULL,
  claimed_at BIGINT NOT NULL,
  CONSTRAINT pk_orders_claim PRIMARY KEY (member_id, purchase_id)
) {clustered};
