-- What members got of limited grants, what budgets have left, and what was given once.

-- Points that a member got under a cap in one of its periods. Rows are only ever added to, in the transaction that
-- changes the member's account.
CREATE TABLE loyalty_counter (
  member_id BIGINT NOT NULL,
  -- The code of the rule, or program.
  code {key(32)} NOT NULL,
  -- 1 day, 2 week, 3 month.
  cap BIGINT NOT NULL,
  -- The first day of the period, in days since 1970-01-01.
  period BIGINT NOT NULL,
  used BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_counter PRIMARY KEY (member_id, code, cap, period)
) {clustered};

-- Points that a rule granted to all members together. Every change names the value that it read.
CREATE TABLE loyalty_budget (
  code {key(32)} NOT NULL,
  used BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_budget PRIMARY KEY (code)
) {clustered};

-- A member checks in once a business date: the key decides.
CREATE TABLE loyalty_check_in (
  member_id BIGINT NOT NULL,
  -- Days since 1970-01-01.
  day BIGINT NOT NULL,
  -- 1 when the day was made up for later.
  made_up BIGINT NOT NULL,
  -- Which day of its streak it was.
  streak_day BIGINT NOT NULL,
  points BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  CONSTRAINT pk_loyalty_check_in PRIMARY KEY (member_id, day)
) {clustered};
