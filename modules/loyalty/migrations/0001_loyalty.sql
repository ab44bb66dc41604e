-- The versions of the programme's rules, and the tier of each member who left the first one.

CREATE TABLE loyalty_program_version (
  version BIGINT NOT NULL,
  -- The rules as JSON.
  rules {long_text} NOT NULL,
  effective_from BIGINT NOT NULL,
  published_at BIGINT NOT NULL,
  published_by {key(64)} NOT NULL,
  -- 1 published, 2 withdrawn before it held.
  state BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_program_version PRIMARY KEY (version)
) {clustered};

-- A member without a row is in the first tier.
CREATE TABLE loyalty_membership (
  member_id BIGINT NOT NULL,
  tier {key(32)} NOT NULL,
  -- Orders from this moment on count in this tier, whenever they are recorded.
  tier_since BIGINT NOT NULL,
  -- Raised by every change; a change names the one that it read.
  revision BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_membership PRIMARY KEY (member_id)
) {clustered};

-- Serves the report: how many members each tier has.
CREATE INDEX ix_loyalty_membership_tier ON loyalty_membership (tier);

CREATE TABLE loyalty_tier_change (
  member_id BIGINT NOT NULL,
  change_id BIGINT NOT NULL,
  from_tier {key(32)} NOT NULL,
  to_tier {key(32)} NOT NULL,
  -- The growth value that decided.
  growth BIGINT NOT NULL,
  -- What brought it about: the reference of a posting.
  reference {key(80)} NOT NULL,
  -- The moment of the order that brought it about: orders before it count in the tier before.
  effective_at BIGINT NOT NULL,
  -- When it was recorded.
  changed_at BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_tier_change PRIMARY KEY (member_id, change_id)
) {clustered};
