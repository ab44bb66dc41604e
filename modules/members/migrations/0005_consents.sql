-- Texts that members agree to, by version. What a text says is kept outside; its hash proves which one it was.
CREATE TABLE members_agreement (
  code {key(32)} NOT NULL,
  version BIGINT NOT NULL,
  title_zh {text(100)} NOT NULL,
  title_en {text(100)} NOT NULL,
  -- SHA-256 of the text, in hexadecimal.
  text_hash {key(64)} NOT NULL,
  published_at BIGINT NOT NULL,
  CONSTRAINT pk_members_agreement PRIMARY KEY (code, version)
) {clustered};

-- What members have consented to or withdrawn, purpose by purpose. Rows are added, never edited: the latest counts.
CREATE TABLE members_consent (
  member_id BIGINT NOT NULL,
  consent_id BIGINT NOT NULL,
  -- service, marketing, profiling or sensitive.
  purpose {key(16)} NOT NULL,
  -- 1 given, 0 withdrawn.
  granted BIGINT NOT NULL,
  -- The agreement and its version. NULL where none was shown, as for a withdrawal.
  agreement_code {key(32)},
  agreement_version BIGINT,
  -- The merge that brought it from another member. NULL for what the person decided.
  merge_id BIGINT,
  -- Who entered it.
  actor {key(64)} NOT NULL,
  decided_at BIGINT NOT NULL,
  CONSTRAINT pk_members_consent PRIMARY KEY (member_id, consent_id)
) {clustered};

-- The guardian of a member below the age at which one consents for oneself.
CREATE TABLE members_guardian (
  member_id BIGINT NOT NULL,
  -- The guardian's phone, encrypted with the member's own key.
  phone_sealed {bytes(128)} NOT NULL,
  -- Who entered the consent.
  actor {key(64)} NOT NULL,
  consented_at BIGINT NOT NULL,
  CONSTRAINT pk_members_guardian PRIMARY KEY (member_id)
) {clustered};

-- How a person came to be a member, beside the channel and the store. Written with the registration, never changed.
CREATE TABLE members_attribution (
  member_id BIGINT NOT NULL,
  -- The occasion, such as a poster or a campaign. NULL where none was named.
  scene {key(32)},
  -- The operator or adviser who won the member. NULL where none was named.
  staff_code {key(32)},
  -- The member who invited. NULL where nobody did.
  inviter_id BIGINT,
  CONSTRAINT pk_members_attribution PRIMARY KEY (member_id)
) {clustered};
