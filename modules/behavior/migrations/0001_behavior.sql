-- What people do on the shop's pages, for some weeks, and how often each thing was done, for ever.

CREATE TABLE behavior_event (
  -- Whose rows lie together: a member's id, or a number that is scattered like one and stands for an anonymous
  -- visitor, or for an event that belongs to nobody.
  subject_id BIGINT NOT NULL,
  occurred_at BIGINT NOT NULL,
  -- The sender's own id of the event, hashed: the same event is stored once.
  event_key BIGINT NOT NULL,
  -- Made for each row that is written, so that a batch knows its own.
  row_id BIGINT NOT NULL,
  -- 1 member, 2 visitor, 3 nobody.
  subject_kind BIGINT NOT NULL,
  name {key(48)} NOT NULL,
  channel {key(32)} NOT NULL,
  -- The path of a page, without query. NULL where the event is about none.
  page {text(200)},
  -- What was clicked or seen. NULL: the page as a whole.
  element {text(100)},
  -- How long, for dwell. NULL where it has no length.
  duration_ms BIGINT,
  -- More about it, as a flat JSON object without personal data. NULL: nothing.
  properties {long_text},
  -- Of how many events of this name one was kept, in basis points.
  sample_bp BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  CONSTRAINT pk_behavior_event PRIMARY KEY (subject_id, occurred_at, event_key)
) {clustered};

-- Serves the job that deletes what is too old.
CREATE INDEX ix_behavior_event_received_at ON behavior_event (received_at);

CREATE TABLE behavior_count (
  -- The business date on which the events occurred.
  day {key(10)} NOT NULL,
  name {key(48)} NOT NULL,
  channel {key(32)} NOT NULL,
  -- One for each process, so that they do not wait for each other's row.
  bucket BIGINT NOT NULL,
  stored BIGINT NOT NULL,
  -- What the stored events stand for, in ten-thousandths of an event.
  weight BIGINT NOT NULL,
  CONSTRAINT pk_behavior_count PRIMARY KEY (day, name, channel, bucket)
) {clustered};

-- One row at most: until somebody decides, the usual settings hold.
CREATE TABLE behavior_setting (
  setting_id BIGINT NOT NULL,
  document {long_text} NOT NULL,
  -- Raised by every change: an update that read an older version meets no row.
  version BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT pk_behavior_setting PRIMARY KEY (setting_id)
) {clustered};
