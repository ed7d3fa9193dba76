drop index conversation.approvals_decided;
drop index conversation.runs_in_review;
