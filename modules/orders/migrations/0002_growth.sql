-- Growth value is earned at a rate of its own: documents keep what they gave and took back.

ALTER TABLE orders_purchase ADD COLUMN growth BIGINT NOT NULL DEFAULT 0;

ALTER TABLE orders_refund ADD COLUMN growth BIGINT NOT NULL DEFAULT 0;

-- Until now it was what was paid.
UPDATE orders_purchase SET growth = paid_minor WHERE kind = 1 AND earns = 1 AND identified = 1;

UPDATE orders_refund SET growth = amount_minor WHERE identified = 1 AND NOT EXISTS (
  SELECT 1 FROM orders_purchase p WHERE p.member_id = orders_refund.member_id
  AND p.purchase_id = orders_refund.purchase_id AND p.earns = 0
);
