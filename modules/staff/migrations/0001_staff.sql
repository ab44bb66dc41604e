-- Who works with Huika: operators with their sessions, API clients, and the counters that slow down guessing.
-- All of them are small and rarely written, except the counters, which are only met when somebody logs in.

CREATE TABLE staff_operator (
  operator_id BIGINT NOT NULL,
  -- In lower case, so that an address has one operator however it is typed.
  email {text(254)} NOT NULL,
  -- Argon2id as a PHC string, which names its own parameters.
  password_hash {key(255)} NOT NULL,
  display_name {text(100)} NOT NULL,
  is_owner BIGINT NOT NULL,
  -- 1 active, 2 suspended.
  state BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  CONSTRAINT pk_staff_operator PRIMARY KEY (operator_id),
  CONSTRAINT uq_staff_operator_email UNIQUE (email)
) {clustered};

-- One row, seat 1: its key lets exactly one of many starting nodes make the first owner.
CREATE TABLE staff_first_owner (
  seat BIGINT NOT NULL,
  operator_id BIGINT NOT NULL,
  CONSTRAINT pk_staff_first_owner PRIMARY KEY (seat)
) {clustered};

CREATE TABLE staff_session (
  -- SHA-256 of the token in hexadecimal; the token itself is shown once and kept nowhere.
  token_hash {key(64)} NOT NULL,
  operator_id BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  -- Moves on while the session is used.
  expires_at BIGINT NOT NULL,
  -- When the operator logged out. NULL while the session may be used.
  revoked_at BIGINT,
  CONSTRAINT pk_staff_session PRIMARY KEY (token_hash)
) {clustered};

-- Serves the removal of sessions that ended long ago.
CREATE INDEX ix_staff_session_expires_at ON staff_session (expires_at);

CREATE TABLE staff_login_attempt (
  -- Blind index of the address that was tried, known or not: what people type there may be a password.
  email_index {key(64)} NOT NULL,
  -- Attempts in the window that did not succeed, counted before the password is looked at.
  failures BIGINT NOT NULL,
  window_ends_at BIGINT NOT NULL,
  CONSTRAINT pk_staff_login_attempt PRIMARY KEY (email_index)
) {clustered};

-- Serves the removal of windows that have ended.
CREATE INDEX ix_staff_login_attempt_window_ends_at ON staff_login_attempt (window_ends_at);

CREATE TABLE staff_api_client (
  client_id BIGINT NOT NULL,
  name {text(100)} NOT NULL,
  -- Sealed by the keyring under staff_api_client/<id>: a signature can only be checked with the secret itself.
  secret_sealed {bytes(255)} NOT NULL,
  -- JSON list of names of permissions.
  permissions {long_text} NOT NULL,
  -- 1 active, 2 revoked.
  state BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  -- NULL while the client may sign.
  revoked_at BIGINT,
  CONSTRAINT pk_staff_api_client PRIMARY KEY (client_id)
) {clustered};

-- Serves the list, latest first.
CREATE INDEX ix_staff_api_client_created_at ON staff_api_client (created_at, client_id);
