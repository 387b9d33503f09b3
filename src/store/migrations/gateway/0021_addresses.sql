-- Addresses of `proxyAddresses` are unique values like `mail`, and nicknames give the names in the initial domain.

ALTER TABLE tenant_user ADD COLUMN proxy_addresses TEXT;   -- JSON list: those exported that are the object's; NULL for none
ALTER TABLE tenant_user ADD COLUMN nickname TEXT;          -- local part of the name in the initial domain
ALTER TABLE tenant_user ADD COLUMN named_by TEXT;          -- the nickname when on_premises_upn last changed
ALTER TABLE tenant_group ADD COLUMN proxy_addresses TEXT;
ALTER TABLE tenant_plain ADD COLUMN proxy_addresses TEXT;
-- 1 while objects that were exported before are still to be judged.
INSERT INTO counter (name, value) SELECT 'addresses_unjudged', CASE WHEN EXISTS (SELECT 1 FROM tenant_user)
    OR EXISTS (SELECT 1 FROM tenant_group) OR EXISTS (SELECT 1 FROM tenant_plain) THEN 1 ELSE 0 END;
