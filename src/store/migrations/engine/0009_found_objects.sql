-- Since when a target shows an object that no export of this engine had made; NULL for the engine's own.

ALTER TABLE space_object ADD COLUMN found_at BIGINT;
UPDATE space_object SET found_at = 0 WHERE mv IS NULL AND joined_by IS NULL AND anchor IS NOT NULL;
