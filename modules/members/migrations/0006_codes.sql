-- Rotating codes that were taken: each counts once. A member's old rows go when the next code is taken.
CREATE TABLE members_code_use (
  member_id BIGINT NOT NULL,
  -- The card that showed it: a member has those of members who were merged as well.
  card_number {key(16)} NOT NULL,
  -- The time step of the code, thirty seconds each since 1970.
  step BIGINT NOT NULL,
  used_at BIGINT NOT NULL,
  CONSTRAINT pk_members_code_use PRIMARY KEY (member_id, card_number, step)
) {clustered};
