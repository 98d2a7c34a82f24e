//! What people give when they sign up. All of it is made up and can belong to nobody: mail domains are under `.example`
//! (RFC 2606), telephone numbers have the country code 999, which no country has.

use event::json::write_number;

use crate::rng::pick;

const FIRST: &[&str] = &[
    "Anna",
    "Ben",
    "Chloé",
    "David",
    "Elif",
    "Finn",
    "Giulia",
    "Hugo",
    "Ines",
    "Jonas",
    "Katarzyna",
    "Liam",
    "Marta",
    "Noah",
    "Olga",
    "Pablo",
    "Quentin",
    "Rūta",
    "Sofia",
    "Tomáš",
    "Ursula",
    "Victor",
    "Wanda",
    "Xavier",
    "Yuki",
    "Zoë",
];
const LAST: &[&str] = &[
    "Almeida",
    "Bauer",
    "Čermák",
    "Dubois",
    "Ekström",
    "Fischer",
    "García",
    "Hoekstra",
    "Ivanova",
    "Jansen",
    "Kowalska",
    "Lefèvre",
    "Moreau",
    "Nowak",
    "O-Brien",
    "Petrauskas",
    "Quist",
    "Rossi",
    "Schäfer",
    "Taylor",
    "Urban",
    "Vogel",
    "Weber",
    "Yılmaz",
    "Zeman",
];
const MAIL: &[&str] = &[
    "mail.example",
    "post.example",
    "inbox.example",
    "webmail.example",
    "box.example",
    "fastmail.example",
    "letters.example",
    "office.example",
];
const STREETS: &[&str] =
    &["Linden", "Station", "Market", "Mill", "Garden", "Church", "Hill", "River", "School", "Bridge", "Oak", "Harbour"];
const TOWNS: &[&str] =
    &["Springfield", "Neustadt", "Villeneuve", "Nowe Miasto", "Newport", "Altdorf", "Vilanova", "Nieuwstad"];

/// Appends the JSON members of a person's traits, from a hash: `"email":...,"name":...,"phone":...,"address":{...}`.
pub fn write_traits(hash: u64, country: &str, out: &mut Vec<u8>) {
    let (first, last) = (pick(FIRST, hash), pick(LAST, hash.rotate_left(13)));
    out.extend_from_slice(b"\"email\":\"");
    ascii_letters(first, out);
    out.push(b'.');
    ascii_letters(last, out);
    write_number(hash >> 20 & 0xffff, out);
    out.push(b'@');
    out.extend_from_slice(pick(MAIL, hash.rotate_left(29)).as_bytes());
    out.extend_from_slice(b"\",\"name\":\"");
    out.extend_from_slice(first.as_bytes());
    out.push(b' ');
    out.extend_from_slice(last.as_bytes());
    out.extend_from_slice(b"\",\"phone\":\"+999");
    write_number(100_000_000 + hash % 899_999_999, out);
    out.extend_from_slice(b"\",\"address\":{\"street\":\"");
    write_number(1 + (hash >> 8) % 140, out);
    out.push(b' ');
    out.extend_from_slice(pick(STREETS, hash.rotate_left(37)).as_bytes());
    out.extend_from_slice(b" Street\",\"city\":\"");
    out.extend_from_slice(pick(TOWNS, hash.rotate_left(43)).as_bytes());
    out.extend_from_slice(b"\",\"postalCode\":\"");
    write_number(10_000 + (hash >> 16) % 90_000, out);
    out.extend_from_slice(b"\",\"country\":\"");
    out.extend_from_slice(country.as_bytes());
    out.extend_from_slice(b"\"}");
}

fn ascii_letters(name: &str, out: &mut Vec<u8>) {
    out.extend(name.bytes().filter(u8::is_ascii_alphabetic).map(|b| b.to_ascii_lowercase()));
}
