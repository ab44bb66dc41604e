-- The kernel's own tables: leases of node numbers, the outbox, the job queue and its schedules,
-- and the audit log.

CREATE TABLE kernel_node (
  node BIGINT NOT NULL,
  -- Changes hands with every lease, so that a process that overslept cannot renew.
  fence BIGINT NOT NULL,
  leased_until BIGINT NOT NULL,
  CONSTRAINT pk_kernel_node PRIMARY KEY (node)
) {clustered};

CREATE TABLE kernel_outbox (
  event_id BIGINT NOT NULL,
  topic {key(64)} NOT NULL,
  payload {long_text} NOT NULL,
  recorded_at BIGINT NOT NULL,
  CONSTRAINT pk_kernel_outbox PRIMARY KEY (event_id)
) {clustered};

CREATE TABLE kernel_job (
  job_id BIGINT NOT NULL,
  queue {key(64)} NOT NULL,
  payload {long_text} NOT NULL,
  -- 0 ready, 1 running, 2 dead. Finished jobs are deleted.
  state BIGINT NOT NULL,
  run_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  -- Raised by every claim; a worker whose fence is old has lost the job.
  fence BIGINT NOT NULL,
  -- When a running job may be claimed by another worker. 0 while it is not running.
  leased_until BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  -- Why the last attempt failed. NULL before the first failure.
  last_error {text(1000)},
  -- The same work is queued once. NULL where repeating it is meant.
  unique_key {key(128)},
  CONSTRAINT pk_kernel_job PRIMARY KEY (job_id),
  CONSTRAINT uq_kernel_job_queue_unique_key UNIQUE (queue, unique_key)
) {clustered};

-- Serves the claim (state, due first) and the list of dead jobs.
CREATE INDEX ix_kernel_job_state_run_at ON kernel_job (state, run_at);

CREATE TABLE kernel_schedule (
  name {key(64)} NOT NULL,
  next_at BIGINT NOT NULL,
  -- When the schedule last made a job. NULL before the first time.
  last_at BIGINT,
  CONSTRAINT pk_kernel_schedule PRIMARY KEY (name)
) {clustered};

CREATE TABLE kernel_audit (
  audit_id BIGINT NOT NULL,
  -- Who did it: an id with its prefix, or system: and a purpose.
  actor {key(64)} NOT NULL,
  -- What was done, area.verb.
  action {key(64)} NOT NULL,
  -- To what: an id with its prefix.
  subject {key(64)} NOT NULL,
  -- JSON without personal data: what is masked on the screen is absent here.
  detail {long_text} NOT NULL,
  -- The request that it was done in. NULL for jobs and commands.
  trace_id {key(64)},
  recorded_at BIGINT NOT NULL,
  CONSTRAINT pk_kernel_audit PRIMARY KEY (audit_id)
) {clustered};

-- Serves the list, latest first.
CREATE INDEX ix_kernel_audit_recorded_at ON kernel_audit (recorded_at, audit_id);
