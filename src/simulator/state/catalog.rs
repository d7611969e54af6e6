//! The content of a Linktree page: links and a profile. Each change is an event, with exactly the fields that
//! Linktree's documentation lists for its type.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{accounts::AccountKey, rejection::Rejection};
use crate::linktree::event::EventType;

/// Maximum number of links of one account, to limit memory.
const LINKS_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    #[serde(rename = "link_id")]
    pub id: String,
    pub title: String,
    pub url: String,
    pub thumbnail_url: Option<String>,
    pub position: u32,
}

/// The fields of a link to set; absent ones stay unchanged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkChange {
    pub title: Option<String>,
    pub url: Option<String>,
    pub thumbnail_url: Option<String>,
    pub position: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    pub username: String,
    pub bio: String,
    pub avatar_url: String,
    pub theme: String,
}

/// The fields of the profile to set; absent ones stay unchanged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileChange {
    pub username: Option<String>,
    pub bio: Option<String>,
    pub avatar_url: Option<String>,
    pub theme: Option<String>,
}

/// A reached threshold of a link's metric. Linktree's dashboard sets thresholds; here the request names the one that
/// was reached.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Milestone {
    pub link_id: String,
    pub metric: String,
    pub value: u64,
    pub threshold: u64,
}

/// An event, to be delivered to the subscriptions that want its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub account: AccountKey,
    pub event_type: EventType,
    pub data: Value,
}

/// The page of one account.
#[derive(Debug)]
pub struct Page {
    account: AccountKey,
    pub links: Vec<Link>,
    pub profile: Profile,
}

impl Page {
    #[must_use]
    pub fn new(account: AccountKey, username: &str) -> Self {
        let profile = Profile {
            username: username.to_owned(),
            bio: String::new(),
            avatar_url: String::new(),
            theme: "default".to_owned(),
        };
        Page { account, links: Vec::new(), profile }
    }

    /// Adds a link at the end, or at the given position.
    ///
    /// # Errors
    /// [`Rejection::Unprocessable`] without title or url, or with too many links.
    pub fn create_link(&mut self, id: String, change: LinkChange) -> Result<Event, Rejection> {
        let LinkChange { title: Some(title), url: Some(url), thumbnail_url, position } = change else {
            return Err(Rejection::Unprocessable("a link needs a title and a url".to_owned()));
        };
        if self.links.len() >= LINKS_MAX {
            return Err(Rejection::Unprocessable("too many links".to_owned()));
        }
        let position = position.unwrap_or(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        let data = json!({"link_id": id, "title": title, "url": url, "position": position});
        self.links.push(Link { id, title, url, thumbnail_url, position });
        Ok(self.event(EventType::LinkCreated, data))
    }

    /// # Errors
    /// [`Rejection::NotFound`] if the link does not exist.
    pub fn update_link(&mut self, id: &str, change: LinkChange) -> Result<Event, Rejection> {
        let LinkChange { title, url, thumbnail_url, position } = change;
        let link = self.links.iter_mut().find(|link| link.id == id).ok_or(Rejection::NotFound)?;
        title.into_iter().for_each(|title| link.title = title);
        url.into_iter().for_each(|url| link.url = url);
        position.into_iter().for_each(|position| link.position = position);
        link.thumbnail_url = thumbnail_url.or(link.thumbnail_url.take());
        let data = json!(link);
        Ok(self.event(EventType::LinkUpdated, data))
    }

    /// Deletes a link at `deleted_at`, seconds since the epoch.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if the link does not exist.
    pub fn delete_link(&mut self, id: &str, deleted_at: i64) -> Result<Event, Rejection> {
        let position = self.links.iter().position(|link| link.id == id).ok_or(Rejection::NotFound)?;
        self.links.remove(position);
        Ok(self.event(EventType::LinkDeleted, json!({"link_id": id, "deleted_at": deleted_at})))
    }

    pub fn update_profile(&mut self, change: ProfileChange) -> Event {
        let ProfileChange { username, bio, avatar_url, theme } = change;
        let profile = &mut self.profile;
        username.into_iter().for_each(|username| profile.username = username);
        bio.into_iter().for_each(|bio| profile.bio = bio);
        avatar_url.into_iter().for_each(|avatar_url| profile.avatar_url = avatar_url);
        theme.into_iter().for_each(|theme| profile.theme = theme);
        let data = json!(profile);
        self.event(EventType::ProfileUpdated, data)
    }

    /// # Errors
    /// [`Rejection::NotFound`] if the link does not exist.
    pub fn reach(&self, milestone: &Milestone) -> Result<Event, Rejection> {
        if !self.has_link(&milestone.link_id) {
            return Err(Rejection::NotFound);
        }
        Ok(self.event(EventType::AnalyticsMilestone, json!(milestone)))
    }

    #[must_use]
    pub fn has_link(&self, id: &str) -> bool {
        self.links.iter().any(|link| link.id == id)
    }

    fn event(&self, event_type: EventType, data: Value) -> Event {
        Event { account: self.account, event_type, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with_link() -> (Page, Event) {
        let mut page = Page::new(AccountKey(0), "demo");
        let change =
            LinkChange { title: Some("Shop".into()), url: Some("https://s.example".into()), ..Default::default() };
        let event = page.create_link("l1".into(), change).unwrap();
        (page, event)
    }

    fn fields(event: &Event) -> Vec<&str> {
        event.data.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn each_event_has_the_fields_of_the_documented_table() {
        let (mut page, created) = page_with_link();
        assert_eq!(fields(&created), ["link_id", "position", "title", "url"]);
        let updated = page.update_link("l1", LinkChange { position: Some(3), ..Default::default() }).unwrap();
        assert_eq!(fields(&updated), ["link_id", "position", "thumbnail_url", "title", "url"]);
        assert_eq!((&updated.data["position"], &updated.data["title"]), (&json!(3), &json!("Shop")));
        let milestone = Milestone { link_id: "l1".into(), metric: "clicks".into(), value: 1001, threshold: 1000 };
        assert_eq!(fields(&page.reach(&milestone).unwrap()), ["link_id", "metric", "threshold", "value"]);
        let deleted = page.delete_link("l1", 7).unwrap();
        assert_eq!(deleted.data, json!({"link_id": "l1", "deleted_at": 7}));
        let profile = page.update_profile(ProfileChange { bio: Some("hi".into()), ..Default::default() });
        assert_eq!(fields(&profile), ["avatar_url", "bio", "theme", "username"]);
        assert_eq!(profile.event_type, EventType::ProfileUpdated);
    }

    #[test]
    fn an_unknown_link_is_not_found() {
        let (mut page, _) = page_with_link();
        assert_eq!(page.update_link("l2", LinkChange::default()), Err(Rejection::NotFound));
        assert_eq!(page.delete_link("l2", 0), Err(Rejection::NotFound));
        assert!(matches!(page.create_link("l3".into(), LinkChange::default()), Err(Rejection::Unprocessable(_))));
    }
}
