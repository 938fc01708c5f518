# ruff: noqa: E501
"""What people call the fields in their lists, in English, German and Chinese. Read by ``propose``.

Under ``*`` stand words that mean the same in every list; the others hold for one entity. Case, blanks and
punctuation don't matter.
"""

from __future__ import annotations

__all__ = ["SYNONYMS"]

SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    "*": {
        "@full_name": ("Name", "Full name", "Contact name", "Contact", "Person", "Vollständiger Name", "Ansprechpartner",
                       "Kontaktname", "Kontakt", "姓名", "联系人", "联系人姓名", "全名", "名字", "Display name", "fn"),
        "salutation": ("Salutation", "Anrede", "Title of courtesy", "称呼", "称谓", "尊称", "Prefix"),
        "given_name": ("First name", "Firstname", "Given name", "Forename", "Vorname", "Rufname", "名", "First"),
        "family_name": ("Last name", "Lastname", "Surname", "Family name", "Nachname", "Familienname", "Zuname", "姓", "姓氏", "Last"),
        "email": ("E-mail", "Email", "Mail", "Email address", "E-mail address", "E-Mail-Adresse", "Mailadresse", "Email 1",
                  "Work email", "Primary email", "邮箱", "电子邮件", "邮件", "电子邮箱", "E-mail 1 - Value", "E-mail Address"),
        "email_private": ("Secondary email", "Second e-mail", "Private email", "Personal email", "Email 2", "E-mail 2", "Other email",
                          "Private E-Mail", "E-Mail privat", "个人邮箱", "备用邮箱"),
        "phone": ("Phone", "Phone number", "Telephone", "Tel", "Business phone", "Work phone", "Office phone", "Main phone",
                  "Telefon", "Telefonnummer", "Festnetz", "Telefon geschäftlich", "电话", "联系电话", "办公电话", "固定电话", "座机", "公司电话"),
        "mobile": ("Mobile", "Mobile phone", "Mobile phone number", "Cell", "Cell phone", "Handy", "Handynummer", "Mobil",
                   "Mobiltelefon", "Mobilnummer", "手机", "手机号", "手机号码", "移动电话"),
        "job_title": ("Job title", "Title", "Position", "Role", "Function", "Funktion", "Stelle", "Berufsbezeichnung", "职位", "职务", "岗位"),
        "department": ("Department", "Division", "Abteilung", "Bereich", "部门"),
        "website": ("Website", "Website URL", "Web", "URL", "Homepage", "Webseite", "Internetseite", "Company domain name", "网站", "官网", "网址"),
        "description": ("Description", "Notes", "Note", "Comment", "Comments", "Remarks", "Beschreibung", "Bemerkung", "Notiz",
                        "Notizen", "Kommentar", "描述", "备注", "说明", "附注"),
        "language": ("Language", "Preferred language", "Sprache", "语言", "首选语言"),
        "birth_date": ("Birthday", "Birthdate", "Date of birth", "DOB", "Geburtstag", "Geburtsdatum", "生日", "出生日期", "Bday"),
        "source": ("Source", "Lead source", "Original source", "Herkunft", "Leadquelle", "Quelle", "来源", "线索来源", "客户来源"),
        "lifecycle_stage": ("Lifecycle stage", "Life-cycle stage", "Stage of life", "Lebenszyklus", "生命周期", "生命周期阶段"),
        "currency": ("Currency", "Currency ISO code", "Währung", "货币", "币种"),
        "owner_id": ("Owner", "Record owner", "Contact owner", "Account owner", "Company owner", "Deal owner", "Opportunity owner",
                     "Lead owner", "Assigned to", "Besitzer", "Zuständig", "Verantwortlich", "Betreuer", "负责人", "所有者", "所有人", "拥有者"),
        "account_id": ("Account", "Account name", "Company", "Company name", "Organization", "Organisation", "Organization name",
                       "Employer", "Firma", "Firmenname", "Unternehmen", "公司", "公司名称", "单位", "单位名称", "企业名称", "客户名称", "客户"),
        "external_id": ("External id", "Record id", "ID", "Contact id", "Account id", "Opportunity id", "Customer number", "UID",
                        "Kundennummer", "Kontaktnummer", "Externe ID", "编号", "客户编号", "外部编号"),
        "reports_to_id": ("Reports to", "Manager", "Supervisor", "Vorgesetzter", "上级", "直属上级"),
        "street": ("Street", "Street address", "Address", "Mailing street", "Address 1: Street 1", "Straße", "Anschrift", "Adresse", "地址", "街道", "详细地址"),
        "postal_code": ("Postal code", "Zip", "Zip code", "Postcode", "Zip/postal code", "Mailing zip", "PLZ", "Postleitzahl", "邮编", "邮政编码"),
        "city": ("City", "Town", "Mailing city", "Ort", "Stadt", "城市", "市"),
        "region": ("State", "Province", "Region", "State/Region", "State/Province", "State or province", "Mailing state", "Bundesland", "Kanton", "省", "省份", "州"),
        "country": ("Country", "Country/Region", "Mailing country", "Land", "Staat", "国家", "国家/地区"),
    },
    "account": {
        "name": ("Account name", "Account", "Company", "Company name", "Organization", "Organization name", "Name", "Firma",
                 "Firmenname", "Unternehmen", "公司", "公司名称", "单位名称", "企业名称", "客户名称", "名称"),
        "legal_name": ("Legal name", "Registered name", "Handelsregistername", "法定名称", "注册名称", "全称"),
        "kind": ("Type", "Account type", "Relationship type", "Customer type", "Art", "Typ", "客户类型", "类型"),
        "industry": ("Industry", "Sector", "Branche", "行业", "所属行业"),
        "grade": ("Grade", "Rating", "Customer grade", "Class", "ABC", "Einstufung", "等级", "客户等级", "级别", "评级"),
        "employees": ("Employees", "Number of employees", "No. of employees", "Headcount", "Mitarbeiter", "Mitarbeiterzahl", "员工数", "员工人数", "人数"),
        "annual_revenue": ("Annual revenue", "Revenue", "Turnover", "Umsatz", "Jahresumsatz", "年收入", "年营业额", "营收"),
        "tax_number": ("Tax number", "VAT", "VAT number", "Tax ID", "Steuernummer", "USt-IdNr", "UID-Nummer", "税号", "统一社会信用代码"),
        "parent_id": ("Parent account", "Parent company", "Parent", "Muttergesellschaft", "Konzern", "上级公司", "母公司", "上级客户"),
        "billing_street": ("Street", "Street address", "Address", "Billing street", "Address 1: Street 1", "Straße", "Anschrift", "Adresse", "地址", "详细地址"),
        "billing_postal_code": ("Postal code", "Zip", "Zip code", "Postcode", "Billing zip/postal code", "Billing code", "PLZ", "Postleitzahl", "邮编", "邮政编码"),
        "billing_city": ("City", "Town", "Billing city", "Ort", "Stadt", "城市"),
        "billing_region": ("State", "Province", "Region", "State/Region", "Billing state/province", "Billing state", "Bundesland", "省", "省份"),
        "billing_country": ("Country", "Country/Region", "Billing country", "Land", "国家", "国家/地区"),
    },
    "opportunity": {
        "name": ("Opportunity name", "Opportunity", "Deal name", "Deal", "Topic", "Potential name", "Name", "Verkaufschance",
                 "Chance", "Projekt", "商机名称", "商机", "交易名称", "项目名称"),
        "amount": ("Amount", "Value", "Deal value", "Est. revenue", "Estimated revenue", "Betrag", "Wert", "Volumen", "金额", "预计金额", "商机金额"),
        "close_date": ("Close date", "Closing date", "Est. close date", "Expected close date", "Abschlussdatum", "Abschluss",
                       "成交日期", "预计成交日期", "结束日期", "结单日期"),
        "probability": ("Probability", "Probability (%)", "Win probability", "Wahrscheinlichkeit", "概率", "可能性", "赢率", "赢单率"),
        "stage_id": ("Stage", "Deal stage", "Sales stage", "Pipeline phase", "Stage name", "Phase", "Stufe", "阶段", "销售阶段", "商机阶段"),
        "pipeline_id": ("Pipeline", "Sales process", "Vertriebsprozess", "管道", "销售流程"),
        "next_step": ("Next step", "Nächster Schritt", "下一步"),
        "lost_reason": ("Loss reason", "Closed lost reason", "Status reason", "Verlustgrund", "输单原因", "丢单原因"),
        "contact_id": ("Contact", "Contact name", "Primary contact", "联系人"),
    },
    "lead": {
        "company": ("Company", "Company name", "Account", "Organization", "Firma", "Unternehmen", "公司", "公司名称"),
        "status": ("Status", "Lead status", "状态", "线索状态"),
        "rating": ("Rating", "Bewertung", "评级"),
    },
}  # fmt: skip
