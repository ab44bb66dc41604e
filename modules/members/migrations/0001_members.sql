-- Members, the keys of their personal data, and the names under which they are found.

CREATE TABLE members_member (
  member_id BIGINT NOT NULL,
  card_number {key(16)} NOT NULL,
  -- normal, frozen, blacklisted or closed.
  state {key(16)} NOT NULL,
  -- Encrypted with the member's own key. NULL while the phone is not known.
  phone_sealed {bytes(128)},
  -- Encrypted with the member's own key. NULL where no nickname was given.
  nickname_sealed {bytes(320)},
  -- Where the person registered, kept for life.
  channel {key(32)} NOT NULL,
  -- The store of the registration. NULL where it took place in no store.
  store_code {key(32)},
  -- Raised by every change: an update that read an older version meets no row.
  version BIGINT NOT NULL,
  registered_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT pk_members_member PRIMARY KEY (member_id)
) {clustered};

-- A row that is gone makes the member's personal data unreadable for ever: that is how a member is erased.
CREATE TABLE members_key (
  member_id BIGINT NOT NULL,
  -- The data key, encrypted with a master key of the key file.
  wrapped {bytes(128)} NOT NULL,
  created_at BIGINT NOT NULL,
  CONSTRAINT pk_members_key PRIMARY KEY (member_id)
) {clustered};

-- The only global names (ADR 7, rule 3): each belongs to one member.
CREATE TABLE members_identity (
  -- phone, card or external.
  kind {key(16)} NOT NULL,
  -- The system that gave the name: the source of an external customer number, empty for our own kinds.
  issuer {key(32)} NOT NULL,
  -- The name itself; the blind index of a phone number, never the number.
  subject {key(64)} NOT NULL,
  member_id BIGINT NOT NULL,
  claimed_at BIGINT NOT NULL,
  CONSTRAINT pk_members_identity PRIMARY KEY (kind, issuer, subject)
) {clustered};

-- Serves "the identities of one member", for merging, erasing and export.
CREATE INDEX ix_members_identity_member_id ON members_identity (member_id);
