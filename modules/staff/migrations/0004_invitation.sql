-- Invitations by which people become operators.

CREATE TABLE staff_invitation (
  invitation_id BIGINT NOT NULL,
  -- SHA-256 of the token in hexadecimal; the token itself is shown once and kept nowhere.
  token_hash {key(64)} NOT NULL,
  -- In lower case.
  email {text(254)} NOT NULL,
  display_name {text(100)} NOT NULL,
  is_owner BIGINT NOT NULL,
  -- JSON list of numbers of roles.
  roles {long_text} NOT NULL,
  -- JSON list of codes of stores. NULL: in all stores.
  stores {long_text},
  invited_by {key(64)} NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  -- 1 open, 2 accepted, 3 revoked. An open one whose time is over is expired; nothing writes that down.
  state BIGINT NOT NULL,
  -- When it was accepted or revoked. NULL while it is open.
  ended_at BIGINT,
  CONSTRAINT pk_staff_invitation PRIMARY KEY (invitation_id),
  CONSTRAINT uq_staff_invitation_token_hash UNIQUE (token_hash)
) {clustered};

-- Serves the list, latest first.
CREATE INDEX ix_staff_invitation_created_at ON staff_invitation (created_at, invitation_id);
