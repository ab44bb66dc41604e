-- The member who this one is, once two members turned out to be one person. NULL while the member stands alone.
ALTER TABLE members_member ADD COLUMN merged_into BIGINT;

-- Serves "who was merged into this member", for export, erasure and taking merges back.
CREATE INDEX ix_members_member_merged_into ON members_member (merged_into);

-- Merges of members. Rows stay when a merge is taken back.
CREATE TABLE members_merge (
  -- The member who became a redirect.
  member_id BIGINT NOT NULL,
  merge_id BIGINT NOT NULL,
  winner_id BIGINT NOT NULL,
  -- Who decided, and why, phone numbers masked.
  actor {key(64)} NOT NULL,
  reason {text(200)} NOT NULL,
  -- What the merge changed, as JSON: whatever is needed to take it back. Personal data in it is sealed.
  changes {long_text} NOT NULL,
  merged_at BIGINT NOT NULL,
  -- When the merge was taken back. NULL while it holds.
  unmerged_at BIGINT,
  CONSTRAINT pk_members_merge PRIMARY KEY (member_id, merge_id)
) {clustered};
