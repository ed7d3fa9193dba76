-- Reports of all users' usage read a range of days.

create index usage_by_day on auth.usage (day);
