"""Reports: figures, tables and pages drawn from measured numbers; nothing is scored here."""
