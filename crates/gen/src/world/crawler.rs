//! Crawlers that say so, with the agents they send and ranges they come from.

pub struct Crawler {
    pub org: &'static str,
    pub agents: &'static [&'static str],
    /// Ranges, with spaces between them.
    pub(super) ranges: &'static str,
}

/// The busiest first. Agents as their operators publish them.
pub const CRAWLERS: &[Crawler] = &[
    Crawler {
        org: "Google",
        agents: &[
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.122 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/141.0.7390.122 Safari/537.36",
        ],
        ranges: "66.249.64.0/20",
    },
    Crawler {
        org: "Microsoft",
        agents: &[
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Mobile Safari/537.36 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        ],
        ranges: "157.55.39.0/24 207.46.13.0/24 40.77.167.0/24 52.167.144.0/24",
    },
    Crawler {
        org: "OpenAI",
        agents: &[
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        ],
        ranges: "20.171.206.0/23",
    },
    Crawler {
        org: "ByteDance",
        agents: &[
            "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
        ],
        ranges: "47.128.16.0/20 110.249.201.0/24",
    },
    Crawler {
        org: "Anthropic",
        agents: &[
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        ],
        ranges: "216.73.216.0/23",
    },
    Crawler {
        org: "Apple",
        agents: &[
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        ],
        ranges: "17.58.96.0/21 17.241.75.0/24",
    },
    Crawler {
        org: "Ahrefs",
        agents: &["Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"],
        ranges: "54.36.148.0/23",
    },
    Crawler {
        org: "Semrush",
        agents: &["Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"],
        ranges: "185.191.171.0/24 85.208.96.0/24",
    },
    Crawler {
        org: "Meta",
        agents: &["facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"],
        ranges: "173.252.64.0/19 31.13.64.0/19",
    },
    Crawler {
        org: "Yandex",
        agents: &["Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"],
        ranges: "5.255.231.0/24 95.108.213.0/24 87.250.224.0/24",
    },
    Crawler {
        org: "Huawei",
        agents: &[
            "Mozilla/5.0 (Linux; Android 7.0;) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
        ],
        ranges: "114.119.128.0/18",
    },
    Crawler {
        org: "Amazon",
        agents: &[
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot) Chrome/119.0.6045.214 Safari/537.36",
        ],
        ranges: "52.70.240.0/24 3.224.220.0/24",
    },
    Crawler {
        org: "Baidu",
        agents: &["Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"],
        ranges: "220.181.108.0/24 180.76.15.0/24",
    },
    Crawler {
        org: "Seznam",
        agents: &["Mozilla/5.0 (compatible; SeznamBot/4.0; +http://napoveda.seznam.cz/seznambot-intro/)"],
        ranges: "77.75.76.0/22",
    },
];
