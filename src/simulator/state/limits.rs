//! Request budgets: 10 webhook-management requests a minute per token and 100 a minute per token in all (known from
//! sibling pages). Assumed: that a minute begins with the first request after the end of the last one.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use super::{accounts::TokenKey, rejection::Rejection};

const WINDOW: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Every call below `/v1/webhooks`. It counts against [`Budget::Overall`] too.
    WebhookManagement,
    Overall,
}

impl Budget {
    fn per_window(self) -> u32 {
        match self {
            Budget::WebhookManagement => 10,
            Budget::Overall => 100,
        }
    }

    /// The budgets that a request counts against.
    fn charged(self) -> &'static [Budget] {
        match self {
            Budget::WebhookManagement => &[Budget::WebhookManagement, Budget::Overall],
            Budget::Overall => &[Budget::Overall],
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Timestamp,
    used: u32,
}

#[derive(Debug)]
pub struct RateLimits {
    enforced: bool,
    /// The current minute of each token and budget: at most two entries per configured token.
    windows: HashMap<(TokenKey, Budget), Window>,
}

impl RateLimits {
    #[must_use]
    pub fn new(enforced: bool) -> Self {
        RateLimits { enforced, windows: HashMap::new() }
    }

    /// Takes one request from the token's budgets and returns the requests left; `None` if limits are not enforced.
    ///
    /// # Errors
    /// [`Rejection::TooManyRequests`] if a budget is used up; then no budget is charged.
    pub fn take(&mut self, token: TokenKey, budget: Budget, now: Timestamp) -> Result<Option<u32>, Rejection> {
        if !self.enforced {
            return Ok(None);
        }
        let mut left = u32::MAX;
        for charged in budget.charged() {
            let window = self.window(token, *charged, now);
            left = left.min(charged.per_window().saturating_sub(window.used));
            if left == 0 {
                let milliseconds = window.ends.duration_since(now).as_millis();
                let retry_after_seconds = u64::try_from(milliseconds).unwrap_or(0).div_ceil(1000).max(1);
                return Err(Rejection::TooManyRequests { retry_after_seconds });
            }
        }
        for charged in budget.charged() {
            self.window(token, *charged, now).used += 1;
        }
        Ok(Some(left - 1))
    }

    fn window(&mut self, token: TokenKey, budget: Budget, now: Timestamp) -> &mut Window {
        let window = self.windows.entry((token, budget)).or_insert(Window { ends: now, used: 0 });
        if window.ends <= now {
            *window = Window { ends: now + WINDOW, used: 0 };
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::state::accounts::Accounts;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn tokens() -> [TokenKey; 2] {
        let accounts = Accounts::new(&["name=a,token=t1,token=t2".parse().unwrap()]);
        ["Bearer t1", "Bearer t2"].map(|header| accounts.authenticate(Some(header)).unwrap())
    }

    #[test]
    fn ten_requests_a_minute_then_a_wait_for_the_next_minute() {
        let [one, other] = tokens();
        let mut limits = RateLimits::new(true);
        for left in (0..10).rev() {
            assert_eq!(limits.take(one, Budget::WebhookManagement, at(5)), Ok(Some(left)));
        }
        let refused = limits.take(one, Budget::WebhookManagement, at(35));
        assert_eq!(refused, Err(Rejection::TooManyRequests { retry_after_seconds: 30 }));
        assert_eq!(limits.take(other, Budget::WebhookManagement, at(35)), Ok(Some(9)), "each token has its own");
        assert_eq!(limits.take(one, Budget::Overall, at(35)), Ok(Some(89)), "a rejected request is not counted");
        assert_eq!(limits.take(one, Budget::WebhookManagement, at(65)), Ok(Some(9)));
    }

    #[test]
    fn the_overall_budget_limits_webhook_management_too() {
        let [one, _] = tokens();
        let mut limits = RateLimits::new(true);
        for _ in 0..100 {
            limits.take(one, Budget::Overall, at(0)).unwrap();
        }
        let refused = limits.take(one, Budget::WebhookManagement, at(1));
        assert_eq!(refused, Err(Rejection::TooManyRequests { retry_after_seconds: 59 }));
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let [one, _] = tokens();
        let mut limits = RateLimits::new(false);
        assert!((0..1000).all(|_| limits.take(one, Budget::WebhookManagement, at(0)) == Ok(None)));
    }
}
