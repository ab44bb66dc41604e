-- The merchant's stores. Small and rarely written; everything that happens in a store names its code.

CREATE TABLE staff_store (
  code {key(32)} NOT NULL,
  name_zh {text(100)} NOT NULL,
  -- NULL: shown by its Chinese name.
  name_en {text(100)},
  -- 1 open, 2 closed.
  state BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  -- NULL while it is open.
  closed_at BIGINT,
  CONSTRAINT pk_staff_store PRIMARY KEY (code)
) {clustered};
