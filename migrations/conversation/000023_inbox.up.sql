-- What waits for a person and what was decided, in their order. Pending approvals have approvals_by_user.

-- The columns of this index never change in a run, so steps still update its row in place (HOT).
create index runs_in_review on conversation.runs (user_id, created_at desc, run_id desc) where status = 'needs_review';
create index approvals_decided on conversation.approvals (user_id, decided_at desc, id desc) where status in ('approved', 'rejected');
