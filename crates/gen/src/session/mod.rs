//! Visits: what somebody does from arriving to leaving, one event after another.
//!
//! * [`shopper`], [`seller`], [`crawler`], [`scraper`]: the scripts, one a role, each with `next` to choose what is done
//!
//! A session that is going on is a [`Live`]: who, where on the site, what is in the cart, what must come next. It knows
//! when its next event is due; an event leaves it as a [`Happening`], which needs nothing of the session any more. An
//! attack will be one more script beside these.

mod crawler;
mod scraper;
mod seller;
mod shopper;

use event::Micros;

use crate::id::Visitor;
use crate::person::{Person, Place, Role};
use crate::population::{Arrival, Population};
use crate::rng::{Draws, mix2};
use crate::world::{Address, COUNTRIES, Catalogue, Country, Platform, World};

/// Events of a visit in the mean, measured: what the population's rate rests on. A test holds it to what sessions do.
pub fn mean_events(role: Role) -> f64 {
    match role {
        Role::Crawler => crawler::MEAN_EVENTS,
        Role::Scraper => scraper::MEAN_EVENTS,
        Role::Seller => seller::MEAN_EVENTS,
        Role::Shopper => shopper::MEAN_EVENTS,
    }
}

/// Within a visit no two events are further apart than this: with one of them lost there is still less than half an hour
/// between its neighbours.
pub const GAP_MAX_US: i64 = 768 * Micros::SECOND;

/// Pages of the site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    Home,
    Search,
    Category,
    Listing,
    Cart,
    Checkout,
    Thanks,
    Account,
    Inbox,
    SignIn,
    SignUp,
    Dashboard,
    Sell,
    Edit,
    Payouts,
}

impl Page {
    pub fn name(self) -> &'static str {
        match self {
            Page::Home => "Home",
            Page::Search => "Search",
            Page::Category => "Category",
            Page::Listing => "Listing",
            Page::Cart => "Cart",
            Page::Checkout => "Checkout",
            Page::Thanks => "Order Confirmed",
            Page::Account => "Account",
            Page::Inbox => "Inbox",
            Page::SignIn => "Sign In",
            Page::SignUp => "Sign Up",
            Page::Dashboard => "Seller Dashboard",
            Page::Sell => "Sell",
            Page::Edit => "Edit Listing",
            Page::Payouts => "Payouts",
        }
    }
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    Viewed,
    SearchPerformed,
    ListingsShown,
    ListingViewed,
    ListingSaved,
    CartUpdated,
    CheckoutStarted,
    OfferMade,
    MessageSent,
    ListingCreated,
    ListingEdited,
    PayoutRequested,
    /// `identify`, after signing in or up.
    Identified,
    // From the marketplace's servers:
    SignIn,
    SignUp,
    MessageDelivered,
    OfferRecorded,
    ListingPublished,
    PaymentAuthorized,
    PaymentDeclined,
    OrderCompleted,
    PayoutSent,
}

impl Action {
    pub const ALL: [Action; 22] = [
        Action::Viewed,
        Action::SearchPerformed,
        Action::ListingsShown,
        Action::ListingViewed,
        Action::ListingSaved,
        Action::CartUpdated,
        Action::CheckoutStarted,
        Action::OfferMade,
        Action::MessageSent,
        Action::ListingCreated,
        Action::ListingEdited,
        Action::PayoutRequested,
        Action::Identified,
        Action::SignIn,
        Action::SignUp,
        Action::MessageDelivered,
        Action::OfferRecorded,
        Action::ListingPublished,
        Action::PaymentAuthorized,
        Action::PaymentDeclined,
        Action::OrderCompleted,
        Action::PayoutSent,
    ];

    /// The event's type as Ouzel reads it: `event` where there is one, else `type`.
    pub fn name(self) -> &'static str {
        match self {
            Action::Viewed => "page",
            Action::Identified => "identify",
            Action::SearchPerformed => "Search Performed",
            Action::ListingsShown => "Listings Shown",
            Action::ListingViewed => "Listing Viewed",
            Action::ListingSaved => "Listing Saved",
            Action::CartUpdated => "Cart Updated",
            Action::CheckoutStarted => "Checkout Started",
            Action::OfferMade => "Offer Made",
            Action::MessageSent => "Message Sent",
            Action::ListingCreated => "Listing Created",
            Action::ListingEdited => "Listing Edited",
            Action::PayoutRequested => "Payout Requested",
            Action::SignIn => "Sign In",
            Action::SignUp => "Sign Up",
            Action::MessageDelivered => "Message Delivered",
            Action::OfferRecorded => "Offer Recorded",
            Action::ListingPublished => "Listing Published",
            Action::PaymentAuthorized => "Payment Authorized",
            Action::PaymentDeclined => "Payment Declined",
            Action::OrderCompleted => "Order Completed",
            Action::PayoutSent => "Payout Sent",
        }
    }

    /// Whether the marketplace's servers send it, not the person's browser.
    pub fn is_server(self) -> bool {
        self >= Action::SignIn
    }
}

/// Who and where from, for as long as a visit lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub person: u64,
    pub role: Role,
    pub visit: u64,
    pub device: Visitor,
    /// The account, signed in on or not; of machines a number that is never shown.
    pub user: Visitor,
    pub address: Address,
    pub place: Place,
    pub agent: u16,
    pub country: u8,
    pub platform: Platform,
    pub screen: u8,
    pub english: bool,
    pub skew_us: i64,
}

impl Client {
    pub fn country(&self) -> &'static Country {
        &COUNTRIES[usize::from(self.country)]
    }
}

/// Listings in a cart at most.
pub const CART_MAX: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cart {
    listings: [u32; CART_MAX],
    len: u8,
}

impl Cart {
    pub fn listings(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.listings[..usize::from(self.len)].iter().map(|l| u64::from(*l))
    }

    fn push(&mut self, listing: u64) -> bool {
        let fits = usize::from(self.len) < CART_MAX && self.listings().all(|l| l != listing);
        if fits {
            self.listings[usize::from(self.len)] = listing as u32;
            self.len += 1;
        }
        fits
    }

    fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Something happened. It stands for itself: what it is rendered from is here or derived from what is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Happening {
    pub client: Client,
    pub session: u64,
    /// A hash of this event alone, for what is not worth a member here.
    pub salt: u64,
    pub action: Action,
    pub page: Page,
    pub signed_in: bool,
    /// Signing in or up: whether it worked. Cart: whether something was put in, not taken out.
    pub worked: bool,
    /// Signing in: which attempt, from 1.
    pub attempt: u8,
    /// How the visitor came, while on the page that was landed on: an index into [`crate::world::entry::ENTRIES`].
    pub entry: Option<u8>,
    /// The page before and its listing.
    pub before: (Page, u64),
    pub category: u8,
    pub query: u32,
    pub listing: u64,
    /// Minor units of the client's currency.
    pub amount: Option<u64>,
    pub cart: Cart,
    /// Counts the client's own events of the visit; odd ones are never lost.
    pub nth: u16,
}

/// What must come next, before anything is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Todo {
    /// With the page that was just shown: within half a second.
    Now(Action),
    /// A form is filled in and sent.
    Form(Action),
    SubmitSignIn,
    SubmitSignUp,
    Pay,
    /// The servers' part of something that was just sent.
    Server(Action),
    Show(Page),
}

const TODO_MAX: usize = 4;

/// Whether, in this visit, somebody who is not signed in is going to change that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    Nothing,
    SignIn,
    SignUp,
}

/// What scripts look things up in.
pub struct Shop<'a> {
    pub catalogue: &'a Catalogue,
    pub population: &'a Population,
}

/// A visit that is going on.
#[derive(Clone, Debug)]
pub struct Live {
    /// When the next event is due.
    pub due: Micros,
    client: Client,
    session: u64,
    draws: Draws,
    /// Nothing happens after it.
    ends: Micros,
    /// Events still wanted; what is begun is finished all the same.
    left: u16,
    step: u16,
    nth: u16,
    signed_in: bool,
    plan: Plan,
    attempts: u8,
    todo: [Todo; TODO_MAX],
    todos: u8,
    entry: u8,
    /// Still on the page that was landed on.
    landed: bool,
    page: Page,
    shown: (Page, u64),
    before: (Page, u64),
    category: u8,
    query: u32,
    listing: u64,
    cart: Cart,
    /// Scrapers: microseconds between two pages.
    period_us: u32,
}

impl Live {
    pub fn open(arrival: &Arrival, world: &World, skewed: u32) -> Live {
        let Arrival { at, person, visit, longest_us, .. } = *arrival;
        let nth = person.device_of_visit(visit);
        let device = person.device(world, nth, visit);
        let place = person.place(device.platform, visit, at);
        let session = person.own(mix2(0x7365_7373, visit));
        let mut draws = Draws::new(session);
        let (signed_in, plan) = standing(&person, nth, visit, &mut draws);
        let client = Client {
            person: person.number,
            role: person.role,
            visit,
            device: device.visitor,
            user: person.user().unwrap_or(device.visitor),
            address: person.address(world, &device, place, visit),
            place,
            agent: device.agent,
            country: person.country,
            platform: device.platform,
            screen: device.screen,
            english: device.english,
            skew_us: if person.role.is_bot() { 0 } else { device.skew_us(skewed) },
        };
        let mut live = Live {
            due: at,
            ends: Micros(at.0 + longest_us),
            left: 0,
            step: 0,
            nth: 0,
            signed_in,
            plan,
            attempts: 0,
            todo: [Todo::Pay; TODO_MAX],
            todos: 0,
            entry: crate::world::entry::draw(draws.below(1000)),
            landed: true,
            page: Page::Home,
            shown: (Page::Home, 0),
            before: (Page::Home, 0),
            category: Catalogue::draw_category(&mut draws),
            query: draws.next_u64() as u32,
            listing: 0,
            cart: Cart::default(),
            period_us: draws.between(700_000, 2_500_000) as u32,
            client,
            session,
            draws,
        };
        live.left = match person.role {
            Role::Crawler => crawler::length(&mut live.draws),
            Role::Scraper => scraper::length(&mut live.draws),
            Role::Seller => seller::length(&mut live.draws),
            Role::Shopper => shopper::length(&mut live.draws),
        };
        live
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The event that is due. Afterwards [`Live::due`] is the time of the one after, or the visit is over: `false`.
    pub fn step(&mut self, shop: &Shop<'_>) -> (Happening, bool) {
        let signed_in = self.signed_in;
        let (action, amount, worked) = match self.pop() {
            Some(todo) => self.do_it(todo, shop),
            None => match self.client.role {
                Role::Crawler => crawler::next(self, shop),
                Role::Scraper => scraper::next(self, shop),
                Role::Seller => seller::next(self, shop),
                Role::Shopper => shopper::next(self, shop),
            },
        };
        let happening = Happening {
            client: self.client,
            session: self.session,
            salt: mix2(self.session, u64::from(self.step)),
            action,
            page: self.page,
            // What is sent on signing in is sent by somebody who has signed in.
            signed_in: signed_in || self.signed_in,
            worked,
            attempt: self.attempts,
            entry: self.landed.then_some(self.entry),
            before: self.before,
            category: self.category,
            query: self.query,
            listing: self.listing,
            amount,
            cart: self.cart,
            nth: self.nth,
        };
        if action == Action::OrderCompleted {
            self.cart = Cart::default();
        }
        self.nth += u16::from(!action.is_server());
        self.step += 1;
        self.left = self.left.saturating_sub(1);
        let at = self.due;
        self.due = Micros(at.0 + self.gap_us());
        let over = (self.todos == 0 && self.left == 0) || self.due > self.ends || self.step == u16::MAX;
        (happening, !over)
    }

    fn gap_us(&mut self) -> i64 {
        const MS: u64 = 1000;
        const SECOND: u64 = 1_000_000;
        let draws = &mut self.draws;
        let us = match (self.todos > 0).then(|| self.todo[0]) {
            Some(Todo::Now(_)) => draws.between(30 * MS, 450 * MS),
            Some(Todo::Server(_)) => draws.between(40 * MS, 900 * MS),
            Some(Todo::Show(_)) => draws.between(200 * MS, 1800 * MS),
            Some(Todo::SubmitSignIn) => draws.spread(2500 * MS, 3),
            Some(Todo::SubmitSignUp) => draws.spread(15 * SECOND, 3),
            Some(Todo::Pay) => draws.spread(6 * SECOND, 3),
            Some(Todo::Form(_)) => draws.spread(5 * SECOND, 4),
            None => match self.client.role {
                Role::Crawler => crawler::gap_us(draws),
                Role::Scraper => scraper::gap_us(draws, self.period_us),
                Role::Seller | Role::Shopper => reading_us(draws),
            },
        };
        (us as i64).min(GAP_MAX_US)
    }

    fn do_it(&mut self, todo: Todo, shop: &Shop<'_>) -> Done {
        match todo {
            Todo::Now(action) | Todo::Form(action) | Todo::Server(action) => self.send(action, shop),
            Todo::Show(page) => self.show(page),
            Todo::SubmitSignIn => self.submit_sign_in(),
            Todo::SubmitSignUp => {
                let worked = !self.draws.per_mille(40);
                if worked {
                    self.signed_in = true;
                    self.push(Todo::Now(Action::Identified));
                } else if self.attempts < ATTEMPTS_MAX {
                    self.push(Todo::SubmitSignUp);
                }
                self.attempts += 1;
                self.plan = Plan::Nothing;
                (Action::SignUp, None, worked)
            }
            Todo::Pay => {
                let amount = self.amount(Action::CheckoutStarted, shop);
                if self.draws.per_mille(60) {
                    return (Action::PaymentDeclined, amount, false);
                }
                self.push(Todo::Server(Action::OrderCompleted));
                self.push(Todo::Show(Page::Thanks));
                (Action::PaymentAuthorized, amount, true)
            }
        }
    }

    /// The action, and what the servers say to it.
    fn send(&mut self, action: Action, shop: &Shop<'_>) -> Done {
        let follows = match action {
            Action::MessageSent => Some(Action::MessageDelivered),
            Action::OfferMade => Some(Action::OfferRecorded),
            Action::ListingCreated | Action::ListingEdited => Some(Action::ListingPublished),
            Action::PayoutRequested => Some(Action::PayoutSent),
            _ => None,
        };
        if let Some(follows) = follows {
            self.push(Todo::Server(follows));
        }
        (action, self.amount(action, shop), true)
    }

    /// Honest people mistype: one attempt in seven fails, and most try again.
    fn submit_sign_in(&mut self) -> Done {
        self.attempts += 1;
        let worked = !self.draws.per_mille(140);
        if worked {
            self.signed_in = true;
            self.plan = Plan::Nothing;
            self.push(Todo::Now(Action::Identified));
        } else if self.attempts < ATTEMPTS_MAX && self.draws.per_mille(780) {
            self.push(Todo::SubmitSignIn);
        } else {
            self.plan = Plan::Nothing;
        }
        (Action::SignIn, None, worked)
    }

    /// What an event is worth, for those that are about money.
    fn amount(&self, action: Action, shop: &Shop<'_>) -> Option<u64> {
        let listing = |l: u64| shop.catalogue.listing(l).cents();
        let cents = match action {
            Action::CheckoutStarted | Action::OrderCompleted => {
                let goods: u64 = self.cart.listings().map(listing).sum();
                goods + protection_cents(goods) + SHIPPING_CENTS
            }
            Action::OfferMade | Action::OfferRecorded => {
                listing(self.listing) * (60 + mix2(self.session, self.listing) % 36) / 100
            }
            Action::ListingCreated | Action::ListingEdited | Action::ListingPublished => listing(self.listing),
            // Sent is what was asked for: both come from the session alone.
            Action::PayoutRequested | Action::PayoutSent => 500 + mix2(self.session, 0x0070_6179) % 40_000,
            _ => return None,
        };
        Some(self.client.country().money(cents))
    }

    fn show(&mut self, page: Page) -> Done {
        self.landed = self.step == 0;
        self.page = page;
        self.before = std::mem::replace(&mut self.shown, (page, self.listing));
        (Action::Viewed, None, true)
    }

    fn push(&mut self, todo: Todo) {
        debug_assert!(usize::from(self.todos) < TODO_MAX, "no script asks for more");
        if usize::from(self.todos) < TODO_MAX {
            self.todo[usize::from(self.todos)] = todo;
            self.todos += 1;
        }
    }

    fn pop(&mut self) -> Option<Todo> {
        if self.todos == 0 {
            return None;
        }
        let first = self.todo[0];
        self.todo.copy_within(1.., 0);
        self.todos -= 1;
        Some(first)
    }
}

/// What was done, what it is worth, and whether it worked.
type Done = (Action, Option<u64>, bool);

/// Attempts to sign in, or up, in one visit.
const ATTEMPTS_MAX: u8 = 4;
pub const SHIPPING_CENTS: u64 = 449;

/// What buyers pay for being protected, in cents.
pub fn protection_cents(goods: u64) -> u64 {
    70 + goods / 20
}

/// How somebody stands at the beginning of a visit.
fn standing(person: &Person, device: u8, visit: u64, draws: &mut Draws) -> (bool, Plan) {
    if person.role.is_bot() {
        return (false, Plan::Nothing);
    }
    match person.joins() {
        Some(joins) if visit < joins => return (false, Plan::Nothing),
        Some(joins) if visit == joins => return (false, Plan::SignUp),
        _ => {}
    }
    let linked = person.links(device).is_none_or(|links| visit > links);
    // Sessions of an account run out now and then.
    if linked && !draws.per_mille(140) {
        return (true, Plan::Nothing);
    }
    (false, if draws.per_mille(750) || person.role == Role::Seller { Plan::SignIn } else { Plan::Nothing })
}

/// How long somebody looks at something: mostly seconds, sometimes a phone call in between. 30 s in the mean.
fn reading_us(draws: &mut Draws) -> u64 {
    const SECOND: u64 = 1_000_000;
    match draws.below(100) {
        0..20 => draws.spread(600_000, 2),
        20..74 => draws.spread(3 * SECOND, 3),
        74..96 => draws.spread(24 * SECOND, 2),
        96..99 => draws.spread(96 * SECOND, 2),
        _ => draws.spread(384 * SECOND, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::Rate;

    const BEGIN: Micros = Micros(1_795_305_600 * Micros::SECOND);

    /// Visits from beginning to end.
    fn visits(n: usize) -> Vec<Vec<(Micros, Happening)>> {
        let world = World::new();
        let catalogue = Catalogue::new(3, 20_000);
        let mut population = Population::new(3, 20_000, Rate { per_s: 6.9, daily: false }, BEGIN).expect("enough");
        let mut all = Vec::new();
        for _ in 0..n {
            let mut live = Live::open(&population.arrive(), &world, 0);
            let mut events = Vec::new();
            loop {
                let at = live.due;
                let shop = Shop { catalogue: &catalogue, population: &population };
                let (happening, goes_on) = live.step(&shop);
                events.push((at, happening));
                if !goes_on {
                    break;
                }
            }
            all.push(events);
        }
        all
    }

    #[test]
    fn a_visit_has_as_many_events_as_the_rate_rests_on() {
        let all = visits(40_000);
        for role in Role::ALL {
            let of: Vec<usize> = all.iter().filter(|v| v[0].1.client.role == role).map(Vec::len).collect();
            assert!(of.len() > 60, "{role:?}");
            let mean = of.iter().sum::<usize>() as f64 / of.len() as f64;
            let off = mean / mean_events(role);
            // Few machines make long visits of very different lengths.
            let tolerance = if role.is_bot() { 0.15 } else { 0.03 };
            assert!((off - 1.0).abs() < tolerance, "{role:?}: {mean:.1} events a visit, planned {}", mean_events(role));
        }
    }

    #[test]
    fn a_visit_makes_sense() {
        let (mut orders, mut sign_ups, mut fails) = (0, 0, 0);
        for events in visits(20_000) {
            let mut signed_in = events[0].1.signed_in;
            let mut authorized = None;
            let mut last = None;
            for (at, h) in &events {
                if let Some(last) = last.replace(*at) {
                    let gap = at.0 - last.0;
                    assert!(gap > 0 && gap <= GAP_MAX_US, "{gap}");
                }
                assert!(h.signed_in >= signed_in, "nobody is signed out in the middle");
                assert!(!h.client.role.is_bot() || !h.signed_in);
                match h.action {
                    Action::SignIn | Action::SignUp => {
                        assert!(!signed_in, "already");
                        assert_eq!(h.signed_in, h.worked);
                        sign_ups += u32::from(h.action == Action::SignUp && h.worked);
                        fails += u32::from(!h.worked);
                    }
                    Action::PaymentAuthorized => authorized = h.amount,
                    Action::OrderCompleted => {
                        assert!(h.amount.is_some() && h.amount == authorized, "what was authorized is what is paid");
                        assert!(!h.cart.is_empty() && h.signed_in);
                        orders += 1;
                    }
                    Action::CheckoutStarted | Action::MessageSent | Action::OfferMade => assert!(h.signed_in),
                    _ => {}
                }
                signed_in = h.signed_in;
            }
        }
        assert!(orders > 300 && sign_ups > 100 && fails > 100, "{orders} orders, {sign_ups} sign-ups, {fails} failed");
    }
}
