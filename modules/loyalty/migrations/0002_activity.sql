-- What members do by business date, and tiers that hold for a time.

-- The sums of a member's business date in the zone of the programme. Rows are only ever added to.
CREATE TABLE loyalty_activity (
  member_id BIGINT NOT NULL,
  -- Days since 1970-01-01.
  day BIGINT NOT NULL,
  spend_minor BIGINT NOT NULL,
  orders BIGINT NOT NULL,
  growth BIGINT NOT NULL,
  -- What of the above was refunded, whenever that was.
  refunded_minor BIGINT NOT NULL,
  refunded_orders BIGINT NOT NULL,
  refunded_growth BIGINT NOT NULL,
  -- The moment of the last purchase of the date; by it a purchase that arrives late is known.
  last_at BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_activity PRIMARY KEY (member_id, day)
) {clustered};

-- The moment at which the tier is evaluated. NULL: it holds until something raises it.
ALTER TABLE loyalty_membership ADD COLUMN until_at BIGINT;

-- Why the tier holds.
ALTER TABLE loyalty_membership ADD COLUMN reason {key(24)} NOT NULL DEFAULT 'reached';

-- The version of the rules that decided.
ALTER TABLE loyalty_membership ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- Serves the job that evaluates tiers.
CREATE INDEX ix_loyalty_membership_until_at ON loyalty_membership (until_at, member_id);

ALTER TABLE loyalty_tier_change ADD COLUMN until_at BIGINT;

ALTER TABLE loyalty_tier_change ADD COLUMN reason {key(24)} NOT NULL DEFAULT 'reached';

ALTER TABLE loyalty_tier_change ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- Beside the growth value: the metrics that decided.
ALTER TABLE loyalty_tier_change ADD COLUMN spend_minor BIGINT NOT NULL DEFAULT 0;

ALTER TABLE loyalty_tier_change ADD COLUMN orders BIGINT NOT NULL DEFAULT 0;

-- When a purchase that arrived late showed that something else had been true. NULL: it stands.
ALTER TABLE loyalty_tier_change ADD COLUMN superseded_at BIGINT;
