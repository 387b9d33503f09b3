-- An outage counts for as long as some node has looked and found nothing else; one that is not renewed ends by itself. How
-- often in a row a node has found no service.

ALTER TABLE partner_outage ADD COLUMN holds_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE partner_view ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
