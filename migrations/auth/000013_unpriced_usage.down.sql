alter table auth.usage drop column unpriced_requests;
