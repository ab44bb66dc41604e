-- The name table of claim codes: what is printed on a receipt leads to its anonymous purchase.

CREATE TABLE orders_claim_code (
  -- SHA-256 of the code, as hexadecimal digits: the table gives no code away.
  code_hash {key(64)} NOT NULL,
  member_id BIGINT NOT NULL,
  purchase_id BIGINT NOT NULL,
  CONSTRAINT pk_orders_claim_code PRIMARY KEY (code_hash)
) {clustered};
