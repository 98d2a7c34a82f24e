//! Our own table of search engines, social networks and mail hosts, from what these sites are called by everybody.
//!
//! There are three media. Search engines are those that answer questions, assistants among them. Social networks are where
//! people talk to each other and show things to each other: videos, chats, forums and places to share links among them.

/// A source and where it is found.
pub(super) struct Row {
    pub(super) medium: &'static str,
    pub(super) source: &'static str,
    /// Hosts, with a space between; their subdomains too, unless `=` stands before one: then only `www.` of it. The longest
    /// decides: `mail.google.com` is not `google.com`. A `*` stands for each of `endings`.
    pub(super) hosts: &'static str,
    /// What `*` stands for.
    pub(super) endings: &'static str,
    /// Beginnings of paths, `/` for the first page alone; empty for all paths.
    pub(super) paths: &'static str,
    /// Parameters that have what was searched for; the first that is not empty counts.
    pub(super) parameters: &'static str,
}

const fn row(medium: &'static str, source: &'static str, hosts: &'static str, parameters: &'static str) -> Row {
    Row { medium, source, hosts, endings: "", paths: "", parameters }
}

const fn search(source: &'static str, hosts: &'static str, parameters: &'static str) -> Row {
    row("search", source, hosts, parameters)
}

const fn social(source: &'static str, hosts: &'static str) -> Row {
    row("social", source, hosts, "")
}

const fn email(source: &'static str, hosts: &'static str) -> Row {
    row("email", source, hosts, "")
}

impl Row {
    const fn endings(self, endings: &'static str) -> Row {
        Row { endings, ..self }
    }

    const fn paths(self, paths: &'static str) -> Row {
        Row { paths, ..self }
    }
}

/// The country domains of Google.
const GOOGLE: &str = "com ac ad ae al am as at az ba be bf bg bi bj bs bt by ca cat cc cd cf cg ch ci cl cm cn cv cz de dj \
    dk dm dz ee es fi fm fr ga ge gf gg gl gm gp gr gy hn hr ht hu ie im io iq is it it.ao je jo kg ki kz la li lk lt lu lv \
    md me mg mk ml mn ms mu mv mw ne nl no nr nu pl pn ps pt ro rs ru rw sc se sh si sk sm sn so sr st td tg tk tl tm tn to \
    tt vg vu ws co.ao co.bw co.ck co.cr co.id co.il co.in co.jp co.ke co.kr co.ls co.ma co.mz co.nz co.th co.tz co.ug co.uk \
    co.uz co.ve co.vi co.za co.zm co.zw com.af com.ag com.ai com.ar com.au com.bd com.bh com.bn com.bo com.br com.bz com.co \
    com.cu com.cy com.do com.ec com.eg com.et com.fj com.gh com.gi com.gt com.hk com.jm com.kh com.kw com.lb com.ly com.mm \
    com.mt com.mx com.my com.na com.nf com.ng com.ni com.np com.om com.pa com.pe com.pg com.ph com.pk com.pr com.py com.qa \
    com.sa com.sb com.sg com.sl com.sv com.tj com.tr com.tw com.ua com.uy com.vc com.vn";
const YANDEX: &str = "ru com by kz ua uz com.tr com.am com.ge az co.il ee eu fr kg lt lv md tj tm";
const PINTEREST: &str = "com at ca ch cl co.kr co.uk com.au com.mx de dk es fr ie it jp nl nz ph pt ru se";

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // Search engines with more on their domain than search.
    search("Google", "=google.* =encrypted.google.com", "q as_q").endings(GOOGLE)
        .paths("/ /search /url /webhp /imgres /images /m /cse /custom /xhtml /aclk /amp"),
    search("Google", "images.google.* lens.google.com cse.google.com com.google.android.googlequicksearchbox", "q").endings(GOOGLE),
    search("Google Scholar", "scholar.google.*", "q").endings(GOOGLE),
    search("Google News", "news.google.* com.google.android.apps.magazines", "q").endings(GOOGLE),
    search("Yandex", "=yandex.* =m.yandex.* =ya.ru", "text query").endings(YANDEX)
        .paths("/ /search /yandsearch /touchsearch /msearch /images /video /clck"),
    search("Baidu", "=baidu.com =m.baidu.com =wap.baidu.com =image.baidu.com com.baidu.searchbox", "wd word kw"),
    search("Naver", "search.naver.com com.nhn.android.search", "query"),
    search("Daum", "search.daum.net net.daum.android.daum", "q"),
    search("Seznam", "search.seznam.cz", "q"),
    search("Mail.ru", "go.mail.ru", "q"),
    search("Yahoo!", "search.yahoo.com search.yahoo.co.jp com.yahoo.mobile.client.android.search", "p q"),

    // Search engines.
    search("Bing", "bing.com com.microsoft.bing", "q"),
    search("DuckDuckGo", "duckduckgo.com ddg.gg com.duckduckgo.mobile.android", "q"),
    search("Ecosia", "ecosia.org com.ecosia.android", "q"),
    search("Qwant", "qwant.com qwantjunior.com com.qwant.liberty", "q"),
    search("Startpage", "startpage.com ixquick.com startingpage.com", "query q"),
    search("Brave Search", "search.brave.com", "q"),
    search("Kagi", "kagi.com", "q"),
    search("Mojeek", "mojeek.com mojeek.co.uk", "q"),
    search("Swisscows", "swisscows.com swisscows.ch", "query"),
    search("MetaGer", "metager.de metager.org metager.net", "eingabe"),
    search("Lilo", "search.lilo.org", "q"),
    search("Presearch", "presearch.com presearch.org", "q"),
    search("Yep", "yep.com", "q"),
    search("Marginalia", "search.marginalia.nu", "query"),
    search("SearX", "searx.be searx.me searx.space", "q"),
    search("Gibiru", "gibiru.com", "q"),
    search("OceanHero", "oceanhero.today", "q"),
    search("Sogou", "sogou.com", "query keyword"),
    search("360 Search", "=so.com =m.so.com", "q"),
    search("Shenma", "m.sm.cn so.m.sm.cn", "q"),
    search("Toutiao Search", "so.toutiao.com", "keyword"),
    search("Petal Search", "petalsearch.com", "query"),
    search("Coc Coc", "coccoc.com", "query"),
    search("Nate", "search.nate.com search.daum.nate.com", "q"),
    search("ZUM", "search.zum.com", "query"),
    search("goo", "search.goo.ne.jp", "MT"),
    search("BIGLOBE", "search.biglobe.ne.jp", "q"),
    search("NIFTY", "search.nifty.com", "q Text"),
    search("Rakuten", "websearch.rakuten.co.jp", "qt"),
    search("docomo", "search.smt.docomo.ne.jp", "MT"),
    search("au", "search.auone.jp", "q"),
    search("Rambler", "nova.rambler.ru search.rambler.ru", "query"),
    search("Onet", "szukaj.onet.pl", "q qt"),
    search("WP", "szukaj.wp.pl", "q szukaj"),
    search("Centrum.cz", "search.centrum.cz", "q"),
    search("SAPO", "pesquisa.sapo.pt", "q"),
    search("Libero", "ricerca.libero.it", "qs query"),
    search("Virgilio", "ricerca.virgilio.it", "qs"),
    search("Tiscali", "search.tiscali.it", "q"),
    search("Orange", "lemoteur.orange.fr lemoteur.fr", "kw"),
    search("T-Online", "suche.t-online.de", "q"),
    search("WEB.DE", "suche.web.de", "q su"),
    search("GMX", "suche.gmx.net suche.gmx.de suche.gmx.at suche.gmx.ch search.gmx.com", "q su"),
    search("1&1", "suche.1und1.de", "q su"),
    search("freenet", "suche.freenet.de", "q query"),
    search("Fireball", "fireball.de fireball.com", "q query"),
    search("Walla", "search.walla.co.il", "q"),
    search("Kvasir", "kvasir.no", "q"),
    search("Ask", "ask.com", "q"),
    search("AOL", "search.aol.com search.aol.co.uk search.aol.de recherche.aol.fr aolsearch.com suche.aol.de", "q query"),
    search("Lycos", "search.lycos.com", "q query"),
    search("Excite", "search.excite.com search.excite.co.jp", "q search"),
    search("Dogpile", "dogpile.com", "q"),
    search("WebCrawler", "webcrawler.com", "q"),
    search("MetaCrawler", "metacrawler.com", "q"),
    search("InfoSpace", "infospace.com", "q"),
    search("Info.com", "info.com", "q qkw"),
    search("ZapMeta", "zapmeta.com", "q"),
    search("Xfinity", "search.xfinity.com search.comcast.net", "q"),
    search("AVG", "mysearch.avg.com isearch.avg.com", "q"),
    search("Babylon", "search.babylon.com isearch.babylon.com", "q"),
    search("Conduit", "search.conduit.com", "q"),
    search("MyWebSearch", "search.mywebsearch.com search.myway.com", "searchfor"),
    search("IncrediMail", "search.incredimail.com", "q"),
    search("MSN Search", "search.msn.com search.live.com", "q"),
    search("AltaVista", "altavista.com", "q"),
    search("AllTheWeb", "alltheweb.com", "q"),
    search("HotBot", "hotbot.com", "q query"),
    search("Netscape", "search.netscape.com", "q query"),
    search("EarthLink", "search.earthlink.net", "q"),
    search("Exalead", "exalead.com exalead.fr", "q"),
    search("Blekko", "blekko.com", "q"),
    search("Entireweb", "entireweb.com", "q"),
    search("Gigablast", "gigablast.com", "q"),
    search("Yippy", "yippy.com", "query"),
    search("Mamma", "mamma.com", "q query"),
    search("Disconnect", "search.disconnect.me", "query q"),
    search("Oscobo", "oscobo.com", "q"),

    // Assistants that answer with links.
    search("ChatGPT", "chatgpt.com chat.openai.com com.openai.chatgpt", ""),
    search("Perplexity", "perplexity.ai ai.perplexity.app.android", "q"),
    search("Gemini", "gemini.google.com bard.google.com com.google.android.apps.bard", ""),
    search("Copilot", "copilot.microsoft.com copilot.cloud.microsoft com.microsoft.copilot", ""),
    search("Claude", "claude.ai com.anthropic.claude", ""),
    search("DeepSeek", "chat.deepseek.com =deepseek.com", ""),
    search("Le Chat", "chat.mistral.ai", ""),
    search("Meta AI", "meta.ai", ""),
    search("Grok", "grok.com", ""),
    search("You.com", "you.com", "q"),
    search("Duck.ai", "duck.ai", ""),
    search("Phind", "phind.com", "q"),
    search("Poe", "poe.com", ""),
    search("Doubao", "doubao.com", ""),
    search("Kimi", "kimi.com kimi.moonshot.cn", ""),
    search("iAsk", "iask.ai", "q"),
    search("Andi", "andisearch.com", "q"),
    search("Felo", "felo.ai", "q"),

    // Social networks.
    social("Facebook", "facebook.com fb.com fb.me com.facebook.katana com.facebook.lite"),
    social("Messenger", "messenger.com m.me com.facebook.orca"),
    social("Instagram", "instagram.com com.instagram.android"),
    social("Threads", "threads.net threads.com com.instagram.barcelona"),
    social("X", "x.com twitter.com t.co com.twitter.android"),
    social("LinkedIn", "linkedin.com lnkd.in com.linkedin.android"),
    social("Pinterest", "pinterest.* pin.it com.pinterest").endings(PINTEREST),
    social("TikTok", "tiktok.com com.zhiliaoapp.musically"),
    social("Snapchat", "snapchat.com com.snapchat.android"),
    social("Bluesky", "bsky.app bsky.social xyz.blueskyweb.app"),
    social("Mastodon", "mastodon.social mastodon.online mastodon.world mstdn.jp mstdn.social mas.to fosstodon.org hachyderm.io \
        infosec.exchange chaos.social techhub.social pawoo.net org.joinmastodon.android"),
    social("VK", "vk.com vk.ru vkontakte.ru com.vkontakte.android"),
    social("Odnoklassniki", "ok.ru odnoklassniki.ru ru.ok.android"),
    social("My World", "my.mail.ru"),
    social("LiveJournal", "livejournal.com livejournal.ru"),
    social("Weibo", "weibo.com weibo.cn t.cn com.sina.weibo"),
    social("WeChat", "weixin.qq.com wechat.com com.tencent.mm"),
    social("Qzone", "qzone.qq.com qzone.com"),
    social("Douban", "douban.com"),
    social("Zhihu", "zhihu.com"),
    social("Xiaohongshu", "xiaohongshu.com xhslink.com"),
    social("Douyin", "douyin.com"),
    social("Tieba", "tieba.baidu.com"),
    social("Renren", "renren.com"),
    social("LINE", "line.me jp.naver.line.android"),
    social("KakaoTalk", "story.kakao.com kakaotalk.com com.kakao.talk"),
    social("Naver Cafe", "cafe.naver.com"),
    social("mixi", "mixi.jp"),
    social("Ameba", "ameba.jp ameblo.jp"),
    social("Hatena", "b.hatena.ne.jp"),
    social("Plurk", "plurk.com"),
    social("ShareChat", "sharechat.com"),
    social("XING", "xing.com"),
    social("Viadeo", "viadeo.com"),
    social("Nextdoor", "nextdoor.com nextdoor.co.uk"),
    social("MeWe", "mewe.com"),
    social("Truth Social", "truthsocial.com"),
    social("Gab", "gab.com"),
    social("Parler", "parler.com"),
    social("Gettr", "gettr.com"),
    social("Minds", "minds.com"),
    social("Draugiem", "draugiem.lv"),
    social("Nasza Klasa", "nk.pl"),
    social("Skyrock", "skyrock.com"),
    social("Taringa!", "taringa.net"),
    social("Tuenti", "tuenti.com"),
    social("Badoo", "badoo.com"),
    social("Tagged", "tagged.com"),
    social("hi5", "hi5.com"),
    social("Bebo", "bebo.com"),
    social("Myspace", "myspace.com"),
    social("Friendster", "friendster.com"),
    social("Orkut", "orkut.com orkut.com.br"),
    social("Google+", "plus.google.com plus.url.google.com"),
    social("Google Groups", "groups.google.com"),
    social("Foursquare", "foursquare.com 4sq.com"),
    social("Meetup", "meetup.com meetu.ps"),
    social("Tumblr", "tumblr.com com.tumblr"),
    social("Medium", "medium.com"),
    social("Substack", "substack.com"),
    social("Blogger", "blogger.com"),
    social("Goodreads", "goodreads.com"),
    social("Linktree", "linktr.ee"),
    social("Clubhouse", "clubhouse.com joinclubhouse.com"),

    // Videos and pictures.
    social("YouTube", "youtube.com youtu.be youtube-nocookie.com com.google.android.youtube"),
    social("Vimeo", "vimeo.com"),
    social("Dailymotion", "dailymotion.com dai.ly"),
    social("Twitch", "twitch.tv"),
    social("Kick", "kick.com"),
    social("Rumble", "rumble.com"),
    social("Odysee", "odysee.com"),
    social("BitChute", "bitchute.com"),
    social("Rutube", "rutube.ru"),
    social("Niconico", "nicovideo.jp"),
    social("bilibili", "bilibili.com b23.tv"),
    social("SoundCloud", "soundcloud.com"),
    social("Flickr", "flickr.com flic.kr"),
    social("Imgur", "imgur.com"),
    social("9GAG", "9gag.com"),
    social("DeviantArt", "deviantart.com"),
    social("Behance", "behance.net"),
    social("Dribbble", "dribbble.com"),
    social("500px", "500px.com"),

    // Chats.
    social("WhatsApp", "whatsapp.com wa.me com.whatsapp"),
    social("Telegram", "t.me telegram.org telegram.me telegram.dog org.telegram.messenger"),
    social("Discord", "discord.com discordapp.com com.discord"),
    social("Slack", "slack.com com.slack"),
    social("Microsoft Teams", "teams.microsoft.com teams.live.com teams.cdn.office.net com.microsoft.teams"),
    social("Skype", "skype.com com.skype.raider"),
    social("Viber", "viber.com com.viber.voip"),

    // Forums, and places to share links.
    social("Reddit", "reddit.com redd.it com.reddit.frontpage"),
    social("Hacker News", "news.ycombinator.com"),
    social("Lobsters", "lobste.rs"),
    social("Lemmy", "lemmy.world lemmy.ml"),
    social("Slashdot", "slashdot.org"),
    social("Digg", "digg.com"),
    social("Delicious", "delicious.com del.icio.us"),
    social("StumbleUpon", "stumbleupon.com"),
    social("Mix", "mix.com"),
    social("Fark", "fark.com"),
    social("Wykop", "wykop.pl"),
    social("Menéame", "meneame.net"),
    social("Flipboard", "flipboard.com flip.it flipboard.app"),
    social("Pocket", "getpocket.com"),
    social("Product Hunt", "producthunt.com"),
    social("Quora", "quora.com"),
    social("Yahoo! Answers", "answers.yahoo.com"),
    social("Stack Overflow", "stackoverflow.com"),
    social("Stack Exchange", "stackexchange.com superuser.com serverfault.com askubuntu.com mathoverflow.net"),
    social("GitHub", "github.com"),
    social("Disqus", "disqus.com disq.us"),

    // Mail.
    email("Gmail", "mail.google.com inbox.google.com com.google.android.gm"),
    email("Outlook", "outlook.live.com outlook.com outlook.office.com outlook.office365.com outlook.cloud.microsoft mail.live.com \
        hotmail.com hotmail.msn.com safelinks.protection.outlook.com com.microsoft.office.outlook"),
    email("Yahoo! Mail", "mail.yahoo.com mail.yahoo.co.jp mail.yahoo.net com.yahoo.mobile.client.android.mail"),
    email("AOL Mail", "mail.aol.com webmail.aol.com"),
    email("iCloud Mail", "=icloud.com"),
    email("Proton Mail", "mail.proton.me protonmail.com ch.protonmail.android"),
    email("Tuta", "mail.tutanota.com app.tuta.com tuta.com tutanota.com"),
    email("Fastmail", "fastmail.com fastmail.fm"),
    email("Zoho Mail", "mail.zoho.com mail.zoho.eu mail.zoho.in"),
    email("HEY", "app.hey.com"),
    email("Superhuman", "mail.superhuman.com"),
    email("Posteo", "posteo.de"),
    email("mailbox.org", "mailbox.org"),
    email("Hushmail", "hushmail.com"),
    email("Mail.com", "mail.com"),
    email("GMX", "gmx.net gmx.de gmx.com gmx.at gmx.ch"),
    email("WEB.DE", "web.de"),
    email("T-Online", "email.t-online.de"),
    email("freenet Mail", "webmail.freenet.de"),
    email("IONOS", "webmail.1und1.de mail.ionos.de email.ionos.com"),
    email("Orange", "webmail.orange.fr messagerie.orange.fr mail.orange.fr"),
    email("Free", "webmail.free.fr zimbra.free.fr"),
    email("La Poste", "webmail.laposte.net laposte.net"),
    email("SFR", "webmail.sfr.fr messagerie.sfr.fr"),
    email("Libero", "webmail.libero.it mail.libero.it"),
    email("Virgilio", "mail.virgilio.it"),
    email("Tiscali", "mail.tiscali.it"),
    email("Aruba", "webmail.aruba.it webmail.pec.it"),
    email("Mail.ru", "e.mail.ru light.mail.ru touch.mail.ru octavius.mail.ru"),
    email("Yandex Mail", "mail.yandex.*").endings(YANDEX),
    email("Rambler", "mail.rambler.ru"),
    email("Ukr.net", "mail.ukr.net"),
    email("i.ua", "mail.i.ua"),
    email("abv.bg", "abv.bg"),
    email("Mail.bg", "mail.bg"),
    email("inbox.lv", "inbox.lv"),
    email("Seznam Email", "email.seznam.cz"),
    email("Centrum", "mail.centrum.cz"),
    email("WP", "poczta.wp.pl"),
    email("Onet", "poczta.onet.pl"),
    email("Interia", "poczta.interia.pl"),
    email("o2", "poczta.o2.pl"),
    email("QQ Mail", "mail.qq.com exmail.qq.com"),
    email("NetEase", "mail.163.com mail.126.com mail.yeah.net"),
    email("Sina Mail", "mail.sina.com.cn mail.sina.cn"),
    email("Sohu Mail", "mail.sohu.com"),
    email("Naver Mail", "mail.naver.com"),
    email("Daum Mail", "mail.daum.net"),
    email("Nate Mail", "mail.nate.com mail3.nate.com"),
    email("Rediffmail", "mail.rediff.com"),
    email("UOL", "email.uol.com.br email.bol.uol.com.br"),
    email("Xfinity", "connect.xfinity.com webmail.comcast.net"),
    email("Cox", "webmail.cox.net"),
    email("EarthLink", "webmail.earthlink.net"),
    email("Optimum", "webmail.optimum.net"),
    email("Juno", "webmail.juno.com"),
    email("BT", "email.bt.com"),
    email("Virgin Media", "mail.virginmedia.com"),
    email("Telstra", "webmail.telstra.com"),
    email("iiNet", "webmail.iinet.net.au"),
    email("Mailchimp", "list-manage.com campaign-archive.com mailchi.mp"),
];
