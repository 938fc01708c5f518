# ruff: noqa: E501
"""Choices by any of the words that people and other systems use for them.

The stored key, the label in English and Chinese, and the words below all lead to the key. The words are
those of the picklists that Salesforce, HubSpot, Zoho and Dynamics come with, and their German and Chinese
forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crm_server.importing.errors import ValueProblem, _
from crm_server.importing.values.places import fold

__all__ = ["SYNONYMS", "choice_words", "parse_choice"]

SYNONYMS: dict[str, tuple[str, ...]] = {
    # salutations
    "mr": ("Mister", "Herr", "Herrn", "先生"),
    "ms": ("Mrs", "Miss", "Frau", "Fräulein", "女士", "小姐", "太太"),
    "mx": ("Mx",),
    "dr": ("Doctor", "Doktor", "博士"),
    "prof": ("Professor", "教授"),
    # life-cycle stages
    "subscriber": ("订阅者",),
    "lead": ("Potential lead", "线索", "潜在客户"),
    "marketing_qualified": ("Marketing Qualified Lead", "MQL", "营销合格线索"),
    "sales_qualified": ("Sales Qualified Lead", "SQL", "Qualified", "销售合格线索"),
    "opportunity": ("Deal", "商机"),
    "customer": ("Customer - Direct", "Customer - Channel", "Client", "Kunde", "客户", "成交客户"),
    "evangelist": ("Advocate", "推荐者"),
    "former": ("Former", "Ex-customer", "Churned", "Past customer", "流失客户", "Ehemaliger Kunde"),
    # kinds of account
    "prospect": ("Potential customer", "Interessent", "潜在客户", "潜在"),
    "partner": ("Channel Partner / Reseller", "Installation Partner", "Technology Partner", "Integrator", "Reseller",
                "Seminar Partner", "Partner Referral", "合作伙伴"),
    "supplier": ("Vendor", "Distributor", "Lieferant", "供应商", "分销商"),
    "competitor": ("Wettbewerber", "竞争对手"),
    # sources
    "web": ("Web", "Internet", "Online Store", "Web Download", "Web Research", "Chat", "Organic search", "Direct traffic",
            "Organic Search", "Direct Traffic", "Webseite", "官网", "网站", "网络"),
    "phone": ("Phone Inquiry", "Cold Call", "Telephone", "Telefon", "电话", "电话营销", "陌生拜访"),
    "mail": ("Email", "Sales Email Alias", "Sales Mail Alias", "Email marketing", "邮件", "电子邮件"),
    "referral": ("Employee Referral", "External Referral", "Referrals", "Word of mouth", "Word of Mouth", "Empfehlung",
                 "介绍", "转介绍", "推荐", "客户推荐"),
    "event": ("Trade Show", "Seminar", "Seminar - Internal", "Seminar-Internal", "Conference", "Webinar", "Messe",
              "展会", "会议", "活动"),
    "advertising": ("Advertisement", "Paid search", "Paid Search", "Paid social", "Werbung", "Public Relations", "广告"),
    "social": ("Social Media", "Organic social", "Organic Social", "Facebook", "Twitter", "X (Twitter)", "LinkedIn", "WeChat",
               "社交媒体", "微信", "抖音"),
    "import": ("Purchased List", "Offline sources", "Offline Sources", "导入"),
    # industries
    "it": ("Technology", "Computer Software", "Computer Hardware", "Information Technology and Services", "Software",
           "Internet", "Electronics", "ISV", "ASP", "Data/Telecom OEM", "IT", "信息技术", "软件", "互联网"),
    "banking": ("Finance", "Financial Services", "Brokers", "Banken", "金融", "银行", "Investment Banking"),
    "machinery": ("Manufacturing", "Engineering", "Durable Manufacturing", "Maschinenbau", "Consulting", "制造", "制造业", "机械"),
    "pharma": ("Biotechnology", "Pharmaceutical", "Pharmaceuticals", "制药", "医药"),
    "healthcare": ("Hospital & Health Care", "Hospital", "Gesundheitswesen", "医疗", "医疗保健"),
    "telecom": ("Communications", "Telecommunications", "ServiceProvider", "电信", "通信"),
    "energy": ("Utilities", "Oil & Energy", "Utility Creation and Distribution", "Energie", "能源"),
    "logistics": ("Transportation", "Shipping", "Transport", "Logistik", "物流", "运输"),
    "education": ("Higher Education", "Primary/Secondary Education", "Bildung", "教育"),
    "government": ("Government/Military", "Government Administration", "Öffentliche Verwaltung", "政府"),
    "retail": ("Wholesale", "Consumer Goods", "Eating and Drinking Places", "Einzelhandel", "零售"),
    "construction": ("Building Supply Retail", "Bauwesen", "建筑"),
    "insurance": ("Versicherung", "保险"),
    "media": ("Entertainment", "Media", "Medien", "传媒"),
    "agriculture": ("Farming", "Landwirtschaft", "Agriculture and Non-petrol Natural Resource Extraction", "农业"),
    "chemicals": ("Chemical", "Chemie", "化工"),
    "automotive": ("Automobile", "Automobil", "汽车"),
    # opportunities
    "new": ("New Customer", "New Business", "newbusiness", "Neugeschäft", "新客户", "新业务"),
    "existing": ("Existing Business", "existingbusiness", "Existing Customer - Upgrade", "Existing Customer - Replacement",
                 "Bestandsgeschäft", "老客户", "现有业务"),
    "other": ("Others", "Not For Profit", "Sonstige", "Andere", "其他", "其它"),
}  # fmt: skip
"""Key of a choice to other words for it; a word counts only where the field has that key."""


def choice_words(
    choices: Mapping[str, object], translate: Callable[[object, str], str] | None = None
) -> dict[str, str]:
    """Folded word → key for one field. ``translate(label, locale)`` gives the labels of a locale."""
    words: dict[str, str] = {}
    for key, label in choices.items():
        names = [key, str(label), *SYNONYMS.get(key, ())]
        if translate is not None:
            names += [translate(label, locale) for locale in ("en", "zh_Hans")]
        for name in names:
            words.setdefault(fold(name), key)
    # A label of one choice wins over a synonym of another.
    words.update({fold(str(label)): key for key, label in choices.items()})
    words.update({fold(key): key for key in choices})
    return words


def parse_choice(text: str, words: Mapping[str, str]) -> str:
    """The key that ``text`` means. Raises ValueProblem ``choice.unknown`` and names some allowed values."""
    key = words.get(fold(text))
    if key is None:
        allowed = ", ".join(sorted(set(words.values()))[:12])
        raise ValueProblem(
            "choice.unknown",
            _("Not one of the allowed values, such as: ${allowed}", mapping={"allowed": allowed}),
        )
    return key
