drop index auth.usage_by_day;
