-- Why the member stands as it does. NULL while nobody has changed the state.
ALTER TABLE members_member ADD COLUMN state_reason {text(200)};

-- Who decided. NULL while nobody has changed the state.
ALTER TABLE members_member ADD COLUMN state_actor {key(64)};

-- Since when. NULL while nobody has changed the state.
ALTER TABLE members_member ADD COLUMN state_since BIGINT;

-- When a freeze ends by itself. NULL where it does not.
ALTER TABLE members_member ADD COLUMN state_until BIGINT;

-- When the personal data was destroyed. NULL while it is there.
ALTER TABLE members_member ADD COLUMN erased_at BIGINT;

-- Serves the job that erases members who left long ago, page by page.
CREATE INDEX ix_members_member_state_member_id ON members_member (state, member_id);

-- How far the work under new keys has come: one row for each set of keys.
CREATE TABLE members_rotation (
  -- The generations that are written now.
  target {key(64)} NOT NULL,
  -- The last member that was looked at.
  last_member_id BIGINT NOT NULL,
  members_done BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  -- NULL while there are members left.
  finished_at BIGINT,
  CONSTRAINT pk_members_rotation PRIMARY KEY (target)
) {clustered};
