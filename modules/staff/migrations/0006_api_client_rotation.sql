-- Where an API client may act, and the secret that it signs with while it changes to another one.

-- JSON list of codes of stores. NULL: in all stores.
ALTER TABLE staff_api_client ADD COLUMN stores {long_text};

-- The secret before the present one, sealed in the same way. NULL where there was none.
ALTER TABLE staff_api_client ADD COLUMN previous_sealed {bytes(255)};

-- Until when the previous secret is taken too. NULL where there was none.
ALTER TABLE staff_api_client ADD COLUMN previous_until BIGINT;
