-- What operators may do and where. Small and rarely written.

CREATE TABLE staff_role (
  role_id BIGINT NOT NULL,
  name {text(100)} NOT NULL,
  -- JSON list of names of permissions.
  permissions {long_text} NOT NULL,
  -- 1 active, 2 retired: nobody is given it any more, and it permits nothing.
  state BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  CONSTRAINT pk_staff_role PRIMARY KEY (role_id)
) {clustered};

CREATE TABLE staff_operator_role (
  operator_id BIGINT NOT NULL,
  role_id BIGINT NOT NULL,
  CONSTRAINT pk_staff_operator_role PRIMARY KEY (operator_id, role_id)
) {clustered};

-- JSON list of codes of stores. NULL: in all stores.
ALTER TABLE staff_operator ADD COLUMN stores {long_text};

-- One row, seat 1. Whoever makes owners fewer counts it up where it still is what was read beside the owners: of two
-- who do so at once, one looks again.
CREATE TABLE staff_owner_guard (
  seat BIGINT NOT NULL,
  version BIGINT NOT NULL,
  CONSTRAINT pk_staff_owner_guard PRIMARY KEY (seat)
) {clustered};

-- Serves the list of an operator's sessions, and ending them.
CREATE INDEX ix_staff_session_operator_id ON staff_session (operator_id, created_at);
