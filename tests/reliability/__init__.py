"""Never silently wrong, never lost: broken files, killed processes and full disks; `make campaign`."""
