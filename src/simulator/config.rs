//! The configured accounts: from `--account`, from a JSON file, or the default.

use std::str::FromStr;

use serde::Deserialize;

use crate::linktree::secret::Secret;

/// One account: `name=acc_demo,plan=Pro,token=lt_test_1` on the command line (`token` can be repeated), or
/// `{"name": …, "plan": …, "tokens": […]}` in a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    pub name: String,
    #[serde(default = "default_plan")]
    pub plan: String,
    pub tokens: Vec<Secret>,
}

/// The default plan, which includes webhooks.
fn default_plan() -> String {
    "Pro".to_owned()
}

/// The default accounts: one with `token` and a plan that includes webhooks, and one with a plan that does not.
#[must_use]
pub fn default_accounts(token: &Secret) -> Vec<AccountConfig> {
    let account = |name: &str, plan: &str, token: Secret| AccountConfig {
        name: name.to_owned(),
        plan: plan.to_owned(),
        tokens: vec![token],
    };
    vec![account("acc_demo", "Pro", token.clone()), account("acc_free", "Free", Secret::new("lt_test_free"))]
}

/// A syntax error in an `--account` value. It does not quote the value, which contains a token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected name=NAME,plan=PLAN,token=TOKEN: {0}")]
pub struct AccountSyntax(&'static str);

impl FromStr for AccountConfig {
    type Err = AccountSyntax;

    fn from_str(text: &str) -> Result<Self, AccountSyntax> {
        let mut account = AccountConfig { name: String::new(), plan: default_plan(), tokens: Vec::new() };
        for part in text.split(',') {
            match part.split_once('=') {
                Some((_, "")) => return Err(AccountSyntax("a value is empty")),
                Some(("name", name)) => account.name = name.to_owned(),
                Some(("plan", plan)) => account.plan = plan.to_owned(),
                Some(("token", token)) => account.tokens.push(Secret::new(token)),
                Some(_) => return Err(AccountSyntax("only name, plan and token can be set")),
                None => return Err(AccountSyntax("a part has no =")),
            }
        }
        if account.name.is_empty() {
            return Err(AccountSyntax("the name is missing"));
        }
        if account.tokens.is_empty() {
            return Err(AccountSyntax("the token is missing"));
        }
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_parsed_from_one_argument() {
        let account: AccountConfig = "name=acc_1,token=t1,plan=Free,token=t2".parse().unwrap();
        assert_eq!((account.name.as_str(), account.plan.as_str(), account.tokens.len()), ("acc_1", "Free", 2));
        assert_eq!("name=a,token=t".parse::<AccountConfig>().unwrap().plan, "Pro");
        for bad in ["", "name=a", "token=t", "name=a,token=", "name=a,token=t,role=x", "a,b"] {
            assert!(bad.parse::<AccountConfig>().is_err(), "{bad}");
        }
    }
}
