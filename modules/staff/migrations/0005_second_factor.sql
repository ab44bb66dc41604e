-- The second factor of operators: a device that shows codes, and the recovery codes that stand in for it.

CREATE TABLE staff_second_factor (
  operator_id BIGINT NOT NULL,
  -- Sealed by the keyring under staff_second_factor/<id>: a code can only be checked with the secret itself.
  secret_sealed {bytes(255)} NOT NULL,
  -- 1 enrolling: the device has not shown a code yet, and none is asked for. 2 active.
  state BIGINT NOT NULL,
  -- The step of 30 seconds whose code was taken last: no code of it or before it is taken again.
  last_step BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  -- NULL while enrolling.
  confirmed_at BIGINT,
  CONSTRAINT pk_staff_second_factor PRIMARY KEY (operator_id)
) {clustered};

CREATE TABLE staff_recovery_code (
  operator_id BIGINT NOT NULL,
  -- Keyed hash of the code; the code itself is shown once and kept nowhere.
  code_index {key(64)} NOT NULL,
  -- NULL while it can be used.
  used_at BIGINT,
  CONSTRAINT pk_staff_recovery_code PRIMARY KEY (operator_id, code_index)
) {clustered};
