"""The words that made-up persons and companies are composed of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Region:
    """A country with its language and its words.

    `phone` holds patterns of numbers that are reserved for fiction: in Germany by the Bundesnetzagentur, in the United
    Kingdom by Ofcom, in North America 555-01xx; Chinese ones begin with a digit that no subscriber has.
    """

    country: str
    language: str
    currency: str
    given: tuple[str, ...]
    family: tuple[str, ...]
    cities: tuple[tuple[str, str, str], ...]  # name, region, postal code pattern
    streets: tuple[str, ...]
    company_heads: tuple[str, ...]
    company_tails: tuple[str, ...]
    titles: tuple[str, ...]
    departments: tuple[str, ...]
    phone: tuple[str, ...]
    mobile: tuple[str, ...]
    domain: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GERMANY = Region(
    country="DE",
    language="de",
    currency="EUR",
    given=_words(
        "Anna Ben Clara David Emilia Felix Greta Hannes Ida Jonas Katharina Lukas Marie "
        "Niklas Olivia Paul Romy Simon Theresa Valentin Wiebke Jörg Änne Günther Sören Käthe "
        "Mia Leon Lena Finn Emma Noah Lina Elias Ella Moritz Sophie Jakob Johanna Anton"
    ),
    family=tuple(
        f"{first}{second}"
        for first in ("Muster", "Beispiel", "Probe", "Modell", "Schau", "Vorführ")
        for second in (
            "mann",
            "berg",
            "feld",
            "müller",
            "stein",
            "wald",
            "hof",
            "bach",
            "lohe",
            "töter",
            "groß",
        )
    ),
    cities=(
        ("Berlin", "Berlin", "10###"),
        ("Hamburg", "Hamburg", "20###"),
        ("München", "Bayern", "80###"),
        ("Köln", "Nordrhein-Westfalen", "50###"),
        ("Frankfurt am Main", "Hessen", "60###"),
        ("Leipzig", "Sachsen", "04###"),
        ("Nürnberg", "Bayern", "90###"),
        ("Düsseldorf", "Nordrhein-Westfalen", "40###"),
    ),
    streets=("Musterstraße", "Beispielweg", "Probegasse", "Modellallee", "Am Schaufeld"),
    company_heads=("Muster", "Beispiel", "Probe", "Modell", "Schau"),
    company_tails=(
        "Maschinenbau GmbH",
        "Logistik AG",
        "Energie GmbH",
        "Pharma AG",
        "Software GmbH",
        "Handel KG",
        "Versicherung AG",
        "Automotive GmbH",
        "Bau GmbH & Co. KG",
        "Chemie AG",
        "Medizintechnik GmbH",
    ),
    titles=(
        "Geschäftsführerin",
        "Leiter Einkauf",
        "Projektleiterin",
        "IT-Leiter",
        "Vertriebsleiterin",
        "Sachbearbeiter",
        "Qualitätsmanagerin",
        "Leiter Finanzen",
        "Assistentin der Geschäftsführung",
    ),
    departments=("Einkauf", "Vertrieb", "IT", "Finanzen", "Produktion", "Personal", "Geschäftsführung"),
    phone=("+493023125###", "+496990009###", "+494066969###", "+492214710###", "+498999998###"),
    mobile=("+491713920###", "+491728000###"),
    domain="example.com",
)
BRITAIN = Region(
    country="GB",
    language="en",
    currency="GBP",
    given=_words(
        "Alice Benjamin Charlotte Daniel Eleanor Frederick Grace Henry Isla Jack Katherine "
        "Leo Matilda Nathan Orla Patrick Rose Samuel Thea Victor Willow Zachary Amelia Oliver "
        "Poppy Harry Freya Oscar Ivy Theo Siân Zoë"
    ),
    family=tuple(
        f"{first}{second}"
        for first in ("Example", "Sample", "Specimen", "Demo", "Placeholder")
        for second in ("ton", "worth", "ley", "field", "son", "wood", "bridge", "hurst", "combe", "ford")
    ),
    cities=(
        ("London", "Greater London", "EC1A 1ZZ"),
        ("Manchester", "Greater Manchester", "M1 1ZZ"),
        ("Bristol", "Bristol", "BS1 1ZZ"),
        ("Edinburgh", "Scotland", "EH1 1ZZ"),
        ("Cardiff", "Wales", "CF10 1ZZ"),
    ),
    streets=("Sample Street", "Example Road", "Specimen Lane", "Demo Square"),
    company_heads=("Example", "Sample", "Specimen", "Placeholder", "Demo"),
    company_tails=(
        "Engineering Ltd",
        "Logistics plc",
        "Energy Ltd",
        "Pharma plc",
        "Software Ltd",
        "Trading Ltd",
        "Insurance plc",
        "Motors Ltd",
        "Construction Ltd",
        "Media Ltd",
        "Health Ltd",
    ),
    titles=(
        "Managing Director",
        "Head of Procurement",
        "Project Manager",
        "IT Director",
        "Sales Director",
        "Clerk",
        "Quality Manager",
        "Chief Financial Officer",
        "Personal Assistant",
        "Compliance Officer",
    ),
    departments=("Procurement", "Sales", "IT", "Finance", "Production", "People", "Board", "Compliance"),
    phone=("+441632960###", "+442079460###", "+441614960###", "+441174960###", "+441314960###"),
    mobile=("+447700900###",),
    domain="example.org",
)
AMERICA = Region(
    country="US",
    language="en",
    currency="USD",
    given=BRITAIN.given,
    family=BRITAIN.family,
    cities=(
        ("New York", "New York", "100##"),
        ("Chicago", "Illinois", "606##"),
        ("Austin", "Texas", "787##"),
        ("Seattle", "Washington", "981##"),
        ("Boston", "Massachusetts", "021##"),
    ),
    streets=("Example Avenue", "Sample Boulevard", "Specimen Street"),
    company_heads=BRITAIN.company_heads,
    company_tails=(
        "Industries Inc.",
        "Logistics LLC",
        "Energy Corp.",
        "Biotech Inc.",
        "Software Inc.",
        "Retail LLC",
        "Bancorp",
        "Automotive Inc.",
        "Builders LLC",
        "Media Group Inc.",
    ),
    titles=BRITAIN.titles,
    departments=BRITAIN.departments,
    phone=("+1212555010#", "+1312555011#", "+1512555012#", "+1206555013#", "+1617555014#"),
    mobile=("+1917555015#", "+1646555016#"),
    domain="example.net",
)
CHINA = Region(
    country="CN",
    language="zh_Hans",
    currency="CNY",
    given=_words(
        "示例 样本 试用 模拟 演示 小样 子例 文示 思样 雨例 天样 明示 佳例 静样 磊试 娜演 强模 芳例 伟样 敏示"
    ),
    family=_words("王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 高 林 罗 欧阳 司马 诸葛"),
    cities=(
        ("北京", "北京", "100###"),
        ("上海", "上海", "200###"),
        ("深圳", "广东", "518###"),
        ("广州", "广东", "510###"),
        ("杭州", "浙江", "310###"),
        ("成都", "四川", "610###"),
    ),
    streets=("示例路", "样本大道", "演示街", "模拟巷"),
    company_heads=("示例", "样本", "演示", "模拟", "试用"),
    company_tails=(
        "机械制造有限公司",
        "物流股份有限公司",
        "能源有限公司",
        "医药有限公司",
        "软件科技有限公司",
        "贸易有限公司",
        "保险股份有限公司",
        "汽车有限公司",
        "建筑工程有限公司",
        "电子有限公司",
        "医疗器械有限公司",
    ),
    titles=(
        "总经理",
        "采购经理",
        "项目经理",
        "信息主管",
        "销售总监",
        "文员",
        "质量经理",
        "财务总监",
        "合规专员",
    ),
    departments=("采购部", "销售部", "信息部", "财务部", "生产部", "人力资源部", "总经办"),
    phone=("+861001#######", "+862101#######"),
    mobile=("+861001#######",),
    domain="example.com",
)
REGIONS = (GERMANY, BRITAIN, AMERICA, CHINA)
WEIGHTS = (35, 22, 18, 25)

# Words by language.
Words = dict[str, tuple[str, ...]]

INDUSTRIES = (
    "machinery",
    "logistics",
    "energy",
    "pharma",
    "it",
    "retail",
    "insurance",
    "automotive",
    "construction",
    "media",
    "healthcare",
)
DEALS: Words = {
    "de": ("Rahmenvertrag", "Wartungsvertrag", "Erneuerung", "Ausbau", "Pilotprojekt", "Schulung"),
    "en": (
        "Framework agreement",
        "Maintenance contract",
        "Renewal",
        "Expansion",
        "Pilot project",
        "Training",
    ),
    "zh_Hans": ("框架合同", "维护合同", "续约", "扩容", "试点项目", "培训"),
}
TASKS: Words = {
    "de": ("Angebot nachfassen", "Vertrag prüfen", "Termin abstimmen", "Unterlagen senden"),
    "en": ("Follow up on the offer", "Review the contract", "Agree on a date", "Send the documents"),
    "zh_Hans": ("跟进报价", "审阅合同", "确定会议时间", "发送资料"),
}
CALLS: Words = {
    "de": ("Erstgespräch", "Rückfrage zum Angebot", "Bedarf geklärt"),
    "en": ("First call", "Question about the offer", "Needs clarified"),
    "zh_Hans": ("首次通话", "咨询报价", "确认需求"),
}
MEETINGS: Words = {
    "de": ("Vorführung beim Kunden", "Vertragsverhandlung", "Jahresgespräch"),
    "en": ("Demonstration on site", "Contract negotiation", "Annual review"),
    "zh_Hans": ("现场演示", "合同谈判", "年度回顾"),
}
NOTES: Words = {
    "de": (
        "Bevorzugt Kontakt am Vormittag.",
        "Interessiert an der neuen Reihe.",
        "Budget erst im nächsten Quartal.",
    ),
    "en": (
        "Prefers to be called in the morning.",
        "Interested in the new range.",
        "Budget only next quarter.",
    ),
    "zh_Hans": ("希望上午联系。", "对新产品线感兴趣。", "预算下季度才有。"),
}
CASES: Words = {
    "de": (
        "Rechnung unklar",
        "Lieferung fehlt",
        "Zugang gesperrt",
        "Fehler nach Aktualisierung",
        "Frage zur Garantie",
    ),
    "en": (
        "Invoice unclear",
        "Delivery missing",
        "Access locked",
        "Error after update",
        "Question about warranty",
    ),
    "zh_Hans": ("发票疑问", "货物未到", "账号被锁", "升级后报错", "保修咨询"),
}
PRODUCTS = (
    ("Sensor S1", "KS-S1", "Hardware", "piece", 18_900),
    ("Sensor S2 Pro", "KS-S2", "Hardware", "piece", 34_900),
    ("Gateway G4", "KS-G4", "Hardware", "piece", 129_000),
    ("Control Suite, yearly", "KS-SW1", "Software", "licence", 480_000),
    ("Analytics Suite, yearly", "KS-SW2", "Software", "licence", 960_000),
    ("Commissioning", "KS-SV1", "Service", "day", 135_000),
    ("Training", "KS-SV2", "Service", "day", 98_000),
    ("Maintenance, yearly", "KS-SV3", "Service", "contract", 240_000),
)
