-- A down-level name that nobody has is answered as the domain of those whose names begin alike answers.

ALTER TABLE tenant_user ADD COLUMN netbios TEXT;           -- first part of the down-level name that the user has, folded
UPDATE tenant_user SET netbios = (SELECT rtrim(rtrim(n.folded, replace(n.folded, '\', '')), '\')
    FROM sign_in_name n WHERE n.oid = tenant_user.oid AND n.kind = 'sam');
CREATE INDEX tenant_user_netbios ON tenant_user (netbios, domain) WHERE netbios IS NOT NULL;
