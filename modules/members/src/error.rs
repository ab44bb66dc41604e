//! What members refuse, and what to do then.

use huika_core::{Denied, MemberId};
use huika_db::DbError;

use crate::{MemberAction, MemberState, PartError};

huika_core::problems! {
    /// An error of the members module.
    pub enum MembersError {
        /// No member has this id, card or identity.
        [404 "members.not_found"]
        NotFound
        en "There is no such member: check the number, or register the person first."
        zh "未找到该会员：请核对号码，或先为其注册。";

        /// The text is no phone number.
        [422 "members.phone_invalid"]
        PhoneInvalid
        en "This is not a mobile number: give 11 digits, or a number abroad with its country code, such as +852 9123 4567."
        zh "手机号格式不正确：请填写11位手机号，境外号码请带国家或地区代码，例如 +852 9123 4567。";

        /// The text is no card number.
        [422 "members.card_number_invalid"]
        CardNumberInvalid
        en "This is not a card number: it has 16 digits and begins with 88. Check for a slip of the finger."
        zh "会员卡号不正确：应为以88开头的16位数字，请检查是否输错。";

        /// The text is no customer number of another system.
        [422 "members.external_invalid"]
        ExternalInvalid
        en "A customer number of another system has 1 to 64 letters, digits or signs, without spaces."
        zh "外部客户编号应为1至64位字母、数字或符号，不含空格。";

        /// The text is no code of a channel, a store or a source.
        [422 "members.code_invalid"]
        CodeInvalid
        en "A code of a channel, a store or a source has 1 to 32 letters, digits, dots, dashes or underscores."
        zh "渠道、门店或来源代码应为1至32位字母、数字、点、短横线或下划线。";

        /// The text is no nickname.
        [422 "members.nickname_invalid"]
        NicknameInvalid
        en "A nickname has 1 to 50 characters on one line."
        zh "昵称应为1至50个字符，且不能换行。";

        /// The birthday does not exist, lies in the future or is too long ago.
        [422 "members.birthday_invalid"]
        BirthdayInvalid
        en "A birthday is a date such as 1990-05-17, not before 1900 and not in the future."
        zh "生日应为 1990-05-17 格式的日期，不早于1900年且不晚于今天。";

        /// The text is no gender.
        [422 "members.gender_invalid"]
        GenderInvalid
        en "The gender is female, male or other; leave it out if it is not known."
        zh "性别应为 female（女）、male（男）或 other（其他）；未知时请勿填写。";

        /// The text is no name of a person.
        [422 "members.real_name_invalid"]
        RealNameInvalid
        en "A name has 1 to 50 characters on one line."
        zh "姓名应为1至50个字符，且不能换行。";

        /// The check character or the date in the number is wrong.
        [422 "members.id_number_invalid"]
        IdNumberInvalid
        en "This is not the number of a resident identity card: it has 18 characters. Check for a slip of the finger."
        zh "居民身份证号码不正确：应为18位，请检查是否输错。";

        /// The address is empty or too long.
        [422 "members.address_invalid"]
        AddressInvalid
        en "An address has 1 to 255 characters on one line."
        zh "地址应为1至255个字符，且不能换行。";

        /// The text is no mail address.
        [422 "members.email_invalid"]
        EmailInvalid
        en "This is not a mail address: it looks like name@example.com."
        zh "电子邮箱格式不正确，应形如 name@example.com。";

        /// The picture has no safe address.
        [422 "members.avatar_invalid"]
        AvatarInvalid
        en "The address of a picture begins with https:// and has at most 255 characters."
        zh "头像地址应以 https:// 开头，且不超过255个字符。";

        /// The member was merged into another.
        [409 "members.merged"]
        Merged {
            /// The member who stands for both.
            winner: MemberId,
        }
        en "This member was merged into {winner}: repeat this with that member, or take the merge back first."
        zh "该会员已合并至 {winner}：请对该会员操作，或先撤销合并。";

        /// A state that comes about by itself.
        [422 "members.state_not_settable"]
        StateNotSettable
        en "Nobody is set to merged by hand: merge the two members instead."
        zh "“已合并”状态不能手动设置：请使用会员合并功能。";

        /// The text is no code of a card.
        [422 "members.card_code_unreadable"]
        CodeUnreadable
        en "This is not the code of a card: scan the code that the member's card shows, 25 digits."
        zh "这不是会员码：请扫描会员卡上显示的25位动态码。";

        /// The code is of another time.
        [409 "members.card_code_expired"]
        CodeExpired
        en "This code is no longer shown, or is not of this shop: let the member open the card and scan again."
        zh "会员码已过期或不属于本店：请会员打开会员卡后重新扫描。";

        /// The code was taken before.
        [409 "members.card_code_used"]
        CodeUsed
        en "This code was taken before: wait for the next one, within 30 seconds, and scan again."
        zh "该会员码已被使用：请等待刷新（30秒内）后重新扫描。";

        /// No such version of an agreement was published.
        [422 "members.agreement_unknown"]
        AgreementUnknown
        en "There is no such version of the agreement: publish it first, or name one from the list of agreements."
        zh "该协议版本不存在：请先发布，或从协议列表中选择。";

        /// The agreement's title or hash is not in the expected form.
        [422 "members.agreement_invalid"]
        AgreementInvalid
        en "An agreement has a title of 1 to 100 characters in both languages and the SHA-256 of its text as 64 hexadecimal digits."
        zh "协议须有中英文标题（1至100个字符）以及正文的 SHA-256（64位十六进制）。";

        /// Nobody has the inviter's id.
        [422 "members.inviter_unknown"]
        InviterUnknown
        en "The member who invited does not exist: check the id, or leave it out."
        zh "邀请人不存在：请核对会员编号，或不填写。";

        /// The text to search for is not one.
        [422 "members.search_invalid"]
        SearchInvalid
        en "Search by exactly one of: the last 4 digits of a phone, a whole name, the first character of a name, an ID number."
        zh "请且仅请选择一种条件：手机号后4位、完整姓名或昵称、姓名首字、身份证号码。";

        /// The end of a state cannot be that.
        [422 "members.until_invalid"]
        UntilInvalid
        en "Only a freeze ends by itself, and its end lies in the future: correct the date or leave it out."
        zh "仅冻结状态可设置截止时间，且须晚于当前时间：请修改或不填写。";

        /// Only who has left is erased.
        [409 "members.not_closed"]
        NotClosed
        en "Only the data of a member who has left is erased: close the member first."
        zh "仅可删除已注销会员的个人信息：请先注销该会员。";

        /// Both members are the same one.
        [422 "members.merge_self"]
        MergeSelf
        en "A member cannot be merged with itself: name two members."
        zh "不能将会员与自身合并：请选择两位不同的会员。";

        /// A member in this state cannot be merged.
        [409 "members.merge_state"]
        MergeState {
            /// The member.
            member: MemberId,
            /// How the member stands.
            state: MemberState,
        }
        en "{member} is {state}: only members in the normal state are merged. Settle that first."
        zh "{member} {state:#}：仅正常状态的会员可以合并，请先处理其状态。";

        /// There is no merge to take back.
        [409 "members.not_merged"]
        NotMerged
        en "This member is not merged into another: nothing can be taken back."
        zh "该会员未被合并，无需撤销。";

        /// A child cannot decide alone about personal data.
        [422 "members.guardian_required"]
        GuardianRequired
        en "Below the age of 14 a guardian must consent: register the child with the guardian's phone and consent, or leave the birthday out."
        zh "未满14周岁须由监护人同意：请填写监护人手机号及其同意后注册，或不填写生日。";

        /// The member has told no such value.
        [404 "members.field_unknown"]
        FieldUnknown
        en "This member has not told this: ask for it and enter it in the profile."
        zh "该会员未登记此项信息，请向会员询问并补充资料。";

        /// Somebody else changed the member since it was read.
        [409 "members.changed_meanwhile"]
        ChangedMeanwhile
        en "Somebody else has changed this member meanwhile: read it again, then repeat the change."
        zh "该会员资料已被他人修改：请重新读取后再提交。";

        /// The reason of a decision is missing or too long.
        [422 "members.reason_invalid"]
        ReasonInvalid
        en "Say why, in 1 to 200 characters: the reason is kept."
        zh "请填写原因（1至200个字符），原因将留存备查。";

        /// Nothing says who the person is.
        [422 "members.identity_required"]
        IdentityRequired
        en "Give a phone number or a customer number of another system: a member is found by one of them."
        zh "请提供手机号或外部客户编号，以便识别会员。";

        /// The phone belongs to one member and the customer number to another.
        [409 "members.identity_conflict"]
        IdentityConflict
        en "The phone and the customer number belong to two different members: check both, or merge the two members."
        zh "手机号与外部客户编号分属两位会员：请核对，或合并这两位会员。";

        /// The customer number belongs to a member with another phone.
        [409 "members.phone_differs"]
        PhoneDiffers
        en "The customer number belongs to a member with another phone: check the number, or change that member's phone."
        zh "该外部客户编号对应的会员已绑定其他手机号：请核对，或为该会员更换手机号。";

        /// The member's state does not allow this.
        [409 "members.state_blocks"]
        StateBlocks {
            /// How the member stands.
            state: MemberState,
            /// What was asked for.
            action: MemberAction,
        }
        en "The member is {state} and cannot {action}: an operator with the right to change states can lift this."
        zh "该会员{state:#}，不能{action:#}：如需恢复，请由有权限的员工变更会员状态。";

        /// The member's phone is not known.
        [404 "members.phone_unknown"]
        PhoneUnknown
        en "This member has no phone number: ask for it and register it."
        zh "该会员未登记手机号，请向会员询问并登记。";

        /// The member's personal data was destroyed.
        [409 "members.erased"]
        Erased
        en "The personal data of this member was erased and cannot be brought back: register the person anew."
        zh "该会员的个人信息已删除且无法恢复：如需继续服务，请重新注册。";

        /// The key file does not hold the key that the data was written with, or the data was altered.
        [500 "members.keys_missing"]
        KeysMissing
        en "Personal data cannot be opened with the key file at hand: restore the key file that it was written with."
        zh "现有密钥文件无法解密个人信息：请恢复写入时所用的密钥文件。";
    }
    from {
        /// A part of the member that another module keeps.
        Part(PartError),
        /// The actor lacks a permission.
        Denied(Denied),
        /// The database failed.
        Db(DbError),
    }
}
