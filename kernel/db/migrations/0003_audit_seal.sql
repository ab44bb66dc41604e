-- The chain over the audit log. Entries are written without it, so that no row is shared by all who act; a job
-- seals them afterwards, in one order.

-- Entries that await their seal, written with them: whatever committed, however late, is found here.
CREATE TABLE kernel_audit_unsealed (
  audit_id BIGINT NOT NULL,
  CONSTRAINT pk_kernel_audit_unsealed PRIMARY KEY (audit_id)
) {clustered};

CREATE TABLE kernel_audit_seal (
  -- Counts from 1 without gaps: its key lets one of two jobs take it.
  position BIGINT NOT NULL,
  audit_id BIGINT NOT NULL,
  -- SHA-256 over the hash of the position before and the entry, in hexadecimal.
  hash {key(64)} NOT NULL,
  sealed_at BIGINT NOT NULL,
  CONSTRAINT pk_kernel_audit_seal PRIMARY KEY (position),
  CONSTRAINT uq_kernel_audit_seal_audit_id UNIQUE (audit_id)
) {clustered};
