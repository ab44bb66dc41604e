-- Commands above somebody's limit, which wait for a second operator. Filed in the transaction of whoever asks.

CREATE TABLE kernel_approval (
  approval_id BIGINT NOT NULL,
  -- What is to be done: names the handler that can do it.
  kind {key(64)} NOT NULL,
  -- To what: an id with its prefix.
  subject {key(64)} NOT NULL,
  -- JSON for the handler, without personal data.
  command {long_text} NOT NULL,
  -- SHA-256 over kind, subject and command in hexadecimal: what the second operator saw is what is done.
  input_hash {key(64)} NOT NULL,
  requested_by {key(64)} NOT NULL,
  requested_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  -- 1 pending, 2 executed, 3 refused. A pending one whose time is over is expired; nothing writes that down.
  state BIGINT NOT NULL,
  -- NULL while nobody has decided.
  decided_by {key(64)},
  -- NULL while nobody has decided.
  decided_at BIGINT,
  -- Why it was refused, in the words of whoever did. NULL unless refused.
  reason {text(500)},
  -- JSON: what the handler answered. NULL unless executed.
  result {long_text},
  CONSTRAINT pk_kernel_approval PRIMARY KEY (approval_id)
) {clustered};

-- Serves the list of what waits and of what was decided, latest first.
CREATE INDEX ix_kernel_approval_state ON kernel_approval (state, requested_at, approval_id);
