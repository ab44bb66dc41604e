-- Names are claimed under every generation of index keys that the key file holds, so that the generations can change
-- while several processes work.
ALTER TABLE members_identity ADD COLUMN generation BIGINT NOT NULL DEFAULT 1;

-- What a member tells about the person: birthday, gender, names, addresses. One row per field.
CREATE TABLE members_personal (
  member_id BIGINT NOT NULL,
  -- birthday, gender, real_name, id_number, address, email or avatar.
  field {key(32)} NOT NULL,
  -- Encrypted with the member's own key, bound to the member and the field.
  sealed {bytes(1200)} NOT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT pk_members_personal PRIMARY KEY (member_id, field)
) {clustered};

-- By what operators search: blind indexes, not unique.
CREATE TABLE members_lookup (
  member_id BIGINT NOT NULL,
  -- What is indexed: birthday (month and day), id_number, real_name, phone_tail and others.
  kind {key(32)} NOT NULL,
  -- The generation of the index key.
  generation BIGINT NOT NULL,
  -- The blind index.
  subject {key(64)} NOT NULL,
  CONSTRAINT pk_members_lookup PRIMARY KEY (member_id, kind, generation)
) {clustered};

-- Serves searches and "who has a birthday today", page by page in the order of members.
CREATE INDEX ix_members_lookup_kind_subject_member_id ON members_lookup (kind, subject, member_id);

-- What happened once in a member's life, so that it is told once.
CREATE TABLE members_milestone (
  member_id BIGINT NOT NULL,
  -- profile_completed.
  name {key(32)} NOT NULL,
  reached_at BIGINT NOT NULL,
  CONSTRAINT pk_members_milestone PRIMARY KEY (member_id, name)
) {clustered};
