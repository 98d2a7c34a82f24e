//! What is so, beside what is sent: for whoever checks what became of it. None of it is in the events.

use event::json::{write_number, write_string};
use event::{Code, Micros};

use crate::disorder::Kind;
use crate::generator::Generator;
use crate::id::{EventId, Visitor, hex};
use crate::person::{Person, Place, Role};
use crate::session::Action;
use crate::world::COUNTRIES;

/// What is so about a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truth {
    pub id: EventId,
    pub kind: Kind,
    /// Of a malformed one: why it must be refused.
    pub code: Option<Code>,
    pub person: u64,
    pub role: Role,
    /// Whose it is by what it says of itself: a device for an event of a browser, a user for one of a server.
    pub visitor: Visitor,
    /// A hash that all events of one visit share, those of servers too.
    pub session: u64,
    /// When it happened.
    pub time: Micros,
    /// When it is sent.
    pub arrival: Micros,
    pub action: Action,
    /// Minor units of `currency`. Of a conflict, the one it claims.
    pub amount: Option<u64>,
    pub currency: &'static str,
}

/// Somebody's first event of the run is near: to be described with [`Generator::write_person`] and the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Introduction {
    pub person: u64,
    pub visit: u64,
    /// False for a machine that was here before and has a new identity.
    pub is_new: bool,
}

impl Truth {
    /// Appends a line of `events.ndjson`, its end included.
    pub fn write(&self, out: &mut Vec<u8>) {
        member(out, b"{\"id\":", &self.id.text());
        member(out, b",\"kind\":", self.kind.name().as_bytes());
        match self.code {
            Some(code) => member(out, b",\"code\":", code.name().as_bytes()),
            None => out.extend_from_slice(b",\"code\":null"),
        }
        out.extend_from_slice(b",\"person\":");
        person(self.person, out);
        out.extend_from_slice(b",\"device\":");
        if self.visitor.is_user() {
            out.extend_from_slice(b"null")
        } else {
            visitor(self.visitor, out)
        }
        out.extend_from_slice(b",\"session\":\"s-");
        let mut session = [0; 16];
        hex(self.session, &mut session);
        out.extend_from_slice(&session);
        out.push(b'"');
        for (name, time) in [(&b",\"time\":\""[..], self.time), (b",\"arrival\":\"", self.arrival)] {
            out.extend_from_slice(name);
            time.write_rfc3339(out);
            out.push(b'"');
        }
        member(out, b",\"type\":", self.action.name().as_bytes());
        match self.amount {
            Some(amount) => {
                out.extend_from_slice(b",\"amount\":");
                write_number(amount, out);
                member(out, b",\"currency\":", self.currency.as_bytes());
            }
            None => out.extend_from_slice(b",\"amount\":null,\"currency\":null"),
        }
        out.extend_from_slice(b"}\n");
    }
}

impl Generator {
    /// Appends a line of `people.ndjson`, its end included.
    pub fn write_person(&self, introduction: Introduction, out: &mut Vec<u8>) {
        let Some(p) = self.person(introduction.person) else { return };
        out.extend_from_slice(b"{\"person\":");
        person(p.number, out);
        out.extend_from_slice(b",\"user\":");
        match p.user() {
            Some(user) => visitor(user, out),
            None => out.extend_from_slice(b"null"),
        }
        member(out, b",\"role\":", p.role.name().as_bytes());
        flag(out, b",\"is_bot\":", p.role.is_bot());
        flag(out, b",\"is_seller\":", p.role == Role::Seller);
        if p.role.is_bot() {
            out.extend_from_slice(b",\"country\":null");
        } else {
            member(out, b",\"country\":", COUNTRIES[usize::from(p.country)].code.as_bytes());
        }
        out.extend_from_slice(b",\"devices\":[");
        for device in 0..p.devices() {
            if device > 0 {
                out.push(b',');
            }
            visitor(p.device(self.world(), device, introduction.visit).visitor, out);
        }
        out.extend_from_slice(b"],\"networks\":[");
        for (n, place) in places(&p).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            self.write_network(&p, place, introduction.visit, out);
        }
        // No attackers yet: see `Role`.
        out.extend_from_slice(b"],\"attacker\":null}\n");
    }

    /// Appends the lines of `devices.ndjson` that an introduction brings.
    pub fn write_devices(&self, introduction: Introduction, out: &mut Vec<u8>) {
        let Some(p) = self.person(introduction.person) else { return };
        for n in 0..p.devices() {
            let device = p.device(self.world(), n, introduction.visit);
            out.extend_from_slice(b"{\"device\":");
            visitor(device.visitor, out);
            out.extend_from_slice(b",\"person\":");
            person(p.number, out);
            member(out, b",\"platform\":", device.platform.name().as_bytes());
            member(out, b",\"user_agent\":", self.world().agents.agent(device.agent).text.as_bytes());
            let (width, height, _) = device.platform.screens()[usize::from(device.screen)];
            member(out, b",\"screen\":", format!("{width}x{height}").as_bytes());
            let locale = if device.english { "en-US" } else { COUNTRIES[usize::from(p.country)].locale };
            member(out, b",\"locale\":", locale.as_bytes());
            let skew_us = if p.role.is_bot() { 0 } else { device.skew_us(self.config().disorder.skewed) };
            out.extend_from_slice(format!(",\"clock_skew_ms\":{}}}\n", skew_us / 1000).as_bytes());
        }
    }

    fn write_network(&self, p: &Person, place: Place, visit: u64, out: &mut Vec<u8>) {
        member(out, b"{\"place\":", place.name().as_bytes());
        match p.network(self.world(), place) {
            Some(network) => member(out, b",\"org\":", network.org.as_bytes()),
            None => {
                let crawler = &crate::world::crawler::CRAWLERS[usize::from(p.crawler())];
                member(out, b",\"org\":", crawler.org.as_bytes());
            }
        }
        // Mobile networks and VPNs give another address on every visit.
        if matches!(place, Place::Home | Place::Work | Place::Hosting) {
            let device = p.device(self.world(), 0, visit);
            out.extend_from_slice(b",\"address\":\"");
            p.address(self.world(), &device, place, visit).write(out);
            out.push(b'"');
        }
        out.push(b'}');
    }
}

/// The places a person may be in.
fn places(p: &Person) -> impl Iterator<Item = Place> {
    let bot = p.role.is_bot();
    [
        (Place::Home, !bot),
        (Place::Work, p.has_office()),
        (Place::Mobile, !bot),
        (Place::Vpn, p.has_vpn()),
        (Place::Hosting, bot && !p.has_vpn()),
    ]
    .into_iter()
    .filter_map(|(place, is)| is.then_some(place))
}

fn person(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"p-");
    write_number(number, out);
    out.push(b'"');
}

fn visitor(visitor: Visitor, out: &mut Vec<u8>) {
    out.push(b'"');
    visitor.write(out);
    out.push(b'"');
}

fn member(out: &mut Vec<u8>, label: &[u8], text: &[u8]) {
    out.extend_from_slice(label);
    write_string(text, out);
}

fn flag(out: &mut Vec<u8>, label: &[u8], yes: bool) {
    out.extend_from_slice(label);
    out.extend_from_slice(if yes { b"true" } else { b"false" });
}
