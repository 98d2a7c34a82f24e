//! Decoding takes no memory per event once its buffers have grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use event::Micros;
use ouzel_wire::{Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, Preset, RawRecord, access_log};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands every call to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_allocates_nothing_once_warm() {
    let segment = include_bytes!("samples/segment.json");
    let line =
        br#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 203 "http://e.com/" "Mozilla/5.0""#;
    let web = Decoder::build(DecoderConfig::new("web", FieldMap::preset(Preset::Segment))).expect("a decoder");
    let log = Decoder::build(DecoderConfig::new("log", FieldMap::preset(Preset::AccessLog))).expect("a decoder");
    let (mut record, mut json) = (RawRecord::default(), Vec::new());
    let mut both = |index| {
        let position = ArrivalPosition::At { prefix: "file", index };
        let arrival = Arrival { received: Micros(1_795_375_980_000_000), position, inherited: &[] };
        web.decode(segment, &arrival, &mut record).expect("an event");
        json.clear();
        access_log::to_json(line, &mut json).expect("a line");
        log.decode(&json, &arrival, &mut record).expect("an event");
    };
    // The buffers of inherited values change places, until each has held the longest.
    (0..10).for_each(|n| both(u64::MAX - n));
    let before = ALLOCATIONS.with(Cell::get);
    (0..100).for_each(both);
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}
