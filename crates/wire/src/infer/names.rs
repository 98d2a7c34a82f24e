//! What people call a field. A name alone, or with the name of the object it stands in (`actor/id`); spelling does not
//! count: `user_id`, `userId`, `user.id` and `$user-id` are one.
//!
//! A score says how surely a member of that name is the field: 100 is what only this field is called, 85 a usual name that
//! leaves a little room, 50 a word that means many things. What is collected here are the names of tracking SDKs and
//! warehouses (Segment, Snowplow, Google Analytics, Mixpanel, Amplitude, CloudEvents, Elastic Common Schema) and plain
//! English.

use event::Field;

/// How surely a name stands for a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub score: i32,
}

/// What the member at `path` says about being `field`; `None`: nothing.
pub(super) fn named(field: Field, path: &[String]) -> Option<Named> {
    let plain: Vec<String> = path.iter().map(|n| plain(n)).collect();
    let (last, above) = plain.split_last()?;
    let names = names_of(field);
    let score = |name: &str| names.iter().find(|(n, _)| *n == name).map(|(_, score)| i32::from(*score));
    if let Some((parent, above)) = above.split_last()
        && let Some(score) = score(&format!("{parent}{last}"))
    {
        return Some(Named { score: score - wrapped(above, false)? });
    }
    let many_things = MANY_THINGS.contains(&last.as_str());
    Some(Named { score: score(last)? - wrapped(above, many_things)? })
}

/// The score of a member by its last name alone, where only the field is called so: whatever it stands in.
pub(super) fn by_its_own_name(field: Field, path: &[String]) -> Option<i32> {
    const ONLY_THIS: u8 = 90;
    let last = plain(path.last()?);
    let found = names_of(field).iter().find(|(name, score)| *name == last && *score >= ONLY_THIS);
    found.filter(|_| path.len() > 1).map(|(_, score)| i32::from(*score))
}

/// Whether a member is called like a time that is not the event's own.
pub(super) fn is_another_time(path: &[String]) -> bool {
    let name: String = path.iter().map(|n| plain(n)).collect();
    OTHER_TIMES.iter().any(|other| name.contains(other))
}

/// Objects that only hold an event together: what is in them is as good as on the first level, nearly.
const ENVELOPES: [&str; 9] = ["event", "meta", "metadata", "header", "headers", "envelope", "message", "record", "log"];
/// Objects in which an event has what it is about, too.
const CONTENTS: [&str; 22] = [
    "data",
    "payload",
    "properties",
    "props",
    "body",
    "attributes",
    "attrs",
    "detail",
    "details",
    "context",
    "ctx",
    "request",
    "req",
    "http",
    "params",
    "page",
    "web",
    "client",
    "browser",
    "common",
    "fields",
    "base",
];

/// What is taken off for the objects above a member; `None` where one of them is about something else: a repository's
/// address is not the page's.
fn wrapped(above: &[String], many_things: bool) -> Option<i32> {
    above.iter().try_fold(0, |sum, name| {
        let is = |list: &[&str]| list.contains(&name.as_str());
        match () {
            () if is(&ENVELOPES) => Some(sum + 4),
            () if is(&CONTENTS) => Some(sum + if many_things { 40 } else { 12 }),
            () => None,
        }
    })
}

/// Names that are an event's own on the first level, and those of something it is about further down.
const MANY_THINGS: [&str; 9] = ["id", "uuid", "guid", "name", "type", "kind", "created", "createdat", "date"];

/// Small letters and digits alone.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

type Names = &'static [(&'static str, u8)];

fn names_of(field: Field) -> Names {
    match field {
        Field::ID => ID,
        Field::TYPE => TYPE,
        Field::TIME => TIME,
        Field::SENT_AT => SENT_AT,
        Field::USER => USER,
        Field::VISITOR => VISITOR,
        Field::SESSION => SESSION,
        Field::IP => IP,
        Field::USER_AGENT => USER_AGENT,
        Field::URL => URL,
        Field::REFERRER => REFERRER,
        Field::CAMPAIGN => CAMPAIGN,
        _ => &[],
    }
}

const ID: Names = &[
    ("eventid", 100),
    ("messageid", 100),
    ("eventuuid", 100),
    ("insertid", 95),
    ("id", 85),
    ("uuid", 80),
    ("guid", 80),
    ("recordid", 75),
    ("eventguid", 95),
    ("deduplicationid", 80),
    ("dedupid", 80),
    ("idempotencykey", 75),
    ("requestid", 50),
    ("eid", 60),
];

const TYPE: Names = &[
    ("eventname", 97),
    ("eventtype", 95),
    ("event", 92),
    ("type", 85),
    ("detailtype", 85),
    ("hittype", 80),
    ("eventaction", 80),
    ("action", 78),
    ("activity", 70),
    ("activitytype", 78),
    ("actionname", 78),
    ("actiontype", 75),
    ("verb", 75),
    ("kind", 65),
    ("operation", 60),
    ("eventcategory", 55),
    ("name", 50),
    ("topic", 50),
    ("category", 40),
];

const TIME: Names = &[
    ("eventtime", 100),
    ("eventtimestamp", 100),
    ("occurredat", 100),
    ("derivedtstamp", 99),
    ("timestamp", 98),
    ("eventts", 98),
    ("happenedat", 98),
    ("time", 94),
    ("eventcreatedat", 94),
    ("timestampms", 93),
    ("ts", 92),
    ("tsms", 90),
    ("originaltimestamp", 90),
    ("createdat", 88),
    ("clienteventtime", 88),
    ("collectortstamp", 86),
    ("datetime", 85),
    ("createdtime", 85),
    ("createdon", 85),
    ("created", 82),
    ("timems", 85),
    ("timemillis", 85),
    ("dvcecreatedtstamp", 84),
    ("eventdatetime", 95),
    ("clienttimestamp", 82),
    ("clienttime", 80),
    ("unixtime", 80),
    ("epoch", 72),
    ("loggedat", 75),
    ("logtime", 75),
    ("servertime", 70),
    ("at", 70),
    ("when", 70),
    ("startedat", 60),
    ("starttime", 60),
    ("publishedat", 60),
    ("receivedat", 60),
    ("date", 55),
    ("eventdate", 52),
    ("day", 40),
    ("t", 45),
    ("insertedat", 45),
    ("ingestedat", 45),
];

/// Parts of names of times that say when something else happened.
const OTHER_TIMES: [&str; 19] = [
    "updated", "modified", "changed", "deleted", "expire", "birth", "dob", "due", "end", "until", "last", "first",
    "schedul", "trial", "renew", "valid", "next", "previous", "closed",
];

const SENT_AT: Names = &[
    ("sentat", 100),
    ("dvcesenttstamp", 100),
    ("clientuploadtime", 85),
    ("senttime", 80),
    ("senttimestamp", 80),
    ("sendtime", 75),
    ("uploadtime", 65),
];

const USER: Names = &[
    ("userid", 100),
    ("useruuid", 95),
    ("actorid", 88),
    ("customerid", 85),
    ("accountid", 82),
    ("memberid", 82),
    ("user", 85),
    ("playerid", 80),
    ("uid", 78),
    ("personid", 78),
    ("profileid", 72),
    ("subscriberid", 75),
    ("actor", 70),
    ("actorlogin", 70),
    ("customer", 70),
    ("userlogin", 66),
    ("userusername", 66),
    ("username", 64),
    ("login", 62),
    ("account", 60),
    ("useremail", 50),
    ("buyerid", 55),
    ("email", 45),
    ("sub", 42),
];

const VISITOR: Names = &[
    ("anonymousid", 100),
    ("visitorid", 100),
    ("userpseudoid", 98),
    ("anonid", 95),
    ("domainuserid", 95),
    ("visitoruuid", 95),
    ("visitor", 88),
    ("deviceid", 85),
    ("clientid", 85),
    ("cookieid", 85),
    ("browserid", 85),
    ("distinctid", 82),
    ("installationid", 80),
    ("installid", 80),
    ("deviceuuid", 80),
    ("guestid", 80),
    ("networkuserid", 70),
    ("fingerprint", 68),
    ("cookie", 60),
    ("advertisingid", 55),
];

const SESSION: Names = &[
    ("sessionid", 100),
    ("domainsessionid", 100),
    ("gasessionid", 98),
    ("sessionuuid", 95),
    ("session", 85),
    ("visitid", 82),
    ("sessionkey", 65),
    ("sid", 65),
];

const IP: Names = &[
    ("ipaddress", 100),
    ("clientip", 100),
    ("clientipaddress", 100),
    ("useripaddress", 100),
    ("userip", 100),
    ("remoteip", 95),
    ("remoteaddr", 95),
    ("remoteaddress", 95),
    ("ip", 95),
    ("ipaddr", 95),
    ("sourceipaddress", 92),
    ("sourceip", 85),
    ("srcip", 75),
    ("clientaddress", 85),
    ("xforwardedfor", 70),
    ("address", 45),
    ("addr", 45),
];

const USER_AGENT: Names = &[
    ("useragent", 100),
    ("httpuseragent", 100),
    ("useragentoriginal", 100),
    ("useragentstring", 98),
    ("clientuseragent", 98),
    ("ua", 90),
    ("uastring", 90),
    ("agent", 65),
];

const URL: Names = &[
    ("pageurl", 100),
    ("urlfull", 100),
    ("url", 92),
    ("currenturl", 98),
    ("pagelocation", 98),
    ("fullurl", 95),
    ("documentlocation", 90),
    ("href", 85),
    ("requesturl", 88),
    ("requesturi", 80),
    ("uri", 75),
    ("location", 60),
    ("locationhref", 90),
    ("pagepath", 62),
    ("requestpath", 55),
    ("path", 48),
];

const REFERRER: Names = &[
    ("referrer", 100),
    ("referer", 100),
    ("pagereferrer", 100),
    ("pagereferer", 100),
    ("httpreferrer", 100),
    ("httpreferer", 100),
    ("documentreferrer", 95),
    ("referrerurl", 95),
    ("requestreferrer", 98),
    ("initialreferrer", 60),
    ("ref", 45),
];

const CAMPAIGN: Names = &[("campaign", 90), ("utm", 85), ("utmcampaign", 85), ("campaignname", 75)];

#[cfg(test)]
mod tests {
    use super::*;

    fn score(field: Field, pointer: &str) -> Option<i32> {
        let path: Vec<String> = pointer[1..].split('/').map(str::to_owned).collect();
        named(field, &path).map(|n| n.score)
    }

    #[test]
    fn spelling_does_not_count_and_place_does() {
        for same in ["/userId", "/user_id", "/user.id", "/$user-id", "/USER ID", "/user/id"] {
            assert_eq!(score(Field::USER, same), Some(100), "{same}");
        }
        for (field, better, worse) in [
            (Field::USER, "/userId", "/data/userId"),
            (Field::USER, "/meta/user_id", "/data/user_id"),
            (Field::ID, "/id", "/data/id"),
            (Field::TYPE, "/event_name", "/event"),
            (Field::TIME, "/timestamp", "/created_at"),
            (Field::URL, "/context/page/url", "/path"),
        ] {
            assert!(score(field, better) > score(field, worse), "{better} {worse}");
        }
        for (field, pointer) in [
            (Field::URL, "/repo/url"),
            (Field::ID, "/payload/issue/id"),
            (Field::USER, "/payload/issue/user/id"),
            (Field::TIME, "/order/created_at"),
            (Field::IP, "/server/ip"),
            (Field::TYPE, "/user/type"),
        ] {
            assert_eq!(score(field, pointer), None, "{pointer}");
        }
        assert!(is_another_time(&["subscription".into(), "ValidUntil".into()]));
        assert!(!is_another_time(&["moment".into()]));
    }

    #[test]
    fn every_name_is_plain_and_there_once() {
        for (field, name) in Field::NAMED {
            let mut seen = std::collections::BTreeSet::new();
            for (known, score) in names_of(field) {
                assert_eq!(plain(known), *known);
                assert!(seen.insert(known), "{name}: {known} is there twice");
                assert!((40..=100).contains(score), "{name}: {known}");
            }
        }
    }
}
