-- Purchases and refunds as other systems report them, and what imports have read.

-- The name table: an order number of a source leads to the member whose shard holds the document.
CREATE TABLE orders_external_ref (
  external_no {key(64)} NOT NULL,
  source {key(32)} NOT NULL,
  -- 1 purchase, 2 refund.
  document BIGINT NOT NULL,
  member_id BIGINT NOT NULL,
  document_id BIGINT NOT NULL,
  input_hash {bytes(32)} NOT NULL,
  CONSTRAINT pk_orders_external_ref PRIMARY KEY (external_no, source, document)
) {clustered};

CREATE TABLE orders_purchase (
  -- The member, or for an anonymous sale a scattered number that no member has, so that anonymous sales
  -- spread over shards too.
  member_id BIGINT NOT NULL,
  purchase_id BIGINT NOT NULL,
  -- 1 when member_id is a member, 0 for an anonymous sale.
  identified BIGINT NOT NULL,
  -- 1 sale, 2 adjustment by the shop such as a bad debt.
  kind BIGINT NOT NULL,
  source {key(32)} NOT NULL,
  external_no {key(64)} NOT NULL,
  channel {key(32)} NOT NULL,
  -- NULL: in no store.
  store_code {key(32)},
  -- NULL: not told.
  payment_method {key(32)},
  placed_at BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  currency {key(3)} NOT NULL,
  paid_minor BIGINT NOT NULL,
  refunded_minor BIGINT NOT NULL,
  points BIGINT NOT NULL,
  -- The tiers before and after. NULL for an anonymous sale.
  tier_before {key(32)},
  tier_after {key(32)},
  -- 1 when it counts for points and growth, 0 when the member's state forbade that or nobody is known.
  earns BIGINT NOT NULL,
  -- The posting that settled it. NULL for an anonymous sale.
  posting_id BIGINT,
  CONSTRAINT pk_orders_purchase PRIMARY KEY (member_id, purchase_id)
) {clustered};

-- Serves a member's history, newest first.
CREATE INDEX ix_orders_purchase_member_id_placed_at ON orders_purchase (member_id, placed_at);

CREATE TABLE orders_purchase_line (
  member_id BIGINT NOT NULL,
  purchase_id BIGINT NOT NULL,
  line_no BIGINT NOT NULL,
  sku {text(64)} NOT NULL,
  name {text(200)} NOT NULL,
  -- NULL: not told.
  category {text(64)},
  quantity BIGINT NOT NULL,
  paid_minor BIGINT NOT NULL,
  -- This line's share of the purchase's points.
  points BIGINT NOT NULL,
  refunded_minor BIGINT NOT NULL,
  CONSTRAINT pk_orders_purchase_line PRIMARY KEY (member_id, purchase_id, line_no)
) {clustered};

CREATE TABLE orders_refund (
  member_id BIGINT NOT NULL,
  refund_id BIGINT NOT NULL,
  identified BIGINT NOT NULL,
  -- NULL when the purchase is not known.
  purchase_id BIGINT,
  source {key(32)} NOT NULL,
  external_no {key(64)} NOT NULL,
  refunded_at BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  currency {key(3)} NOT NULL,
  amount_minor BIGINT NOT NULL,
  -- Points that were to be taken back.
  points BIGINT NOT NULL,
  -- NULL for an anonymous refund.
  posting_id BIGINT,
  CONSTRAINT pk_orders_refund PRIMARY KEY (member_id, refund_id)
) {clustered};

CREATE TABLE orders_refund_line (
  member_id BIGINT NOT NULL,
  refund_id BIGINT NOT NULL,
  line_no BIGINT NOT NULL,
  -- Of a known purchase: the line that was refunded. Otherwise counts from 1.
  sku {text(64)} NOT NULL,
  name {text(200)} NOT NULL,
  quantity BIGINT NOT NULL,
  amount_minor BIGINT NOT NULL,
  CONSTRAINT pk_orders_refund_line PRIMARY KEY (member_id, refund_id, line_no)
) {clustered};

-- How far the import of a file has come. Rows are counted in the transaction that takes them in.
CREATE TABLE orders_import (
  source {key(32)} NOT NULL,
  file_hash {key(64)} NOT NULL,
  format {key(32)} NOT NULL,
  -- Rows of the file that are done with, taken in or reported.
  rows_done BIGINT NOT NULL,
  documents_done BIGINT NOT NULL,
  -- Rows that were refused and reported.
  rows_refused BIGINT NOT NULL,
  -- 1 running or interrupted, 2 finished.
  state BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT pk_orders_import PRIMARY KEY (source, file_hash)
) {clustered};
