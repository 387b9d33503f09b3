-- Which write of its directory a stored password comes from: a server that lags behind shows an older one.

ALTER TABLE credential ADD COLUMN written TEXT;  -- version/seconds since 1970/writer; NULL where the directory does not tell
