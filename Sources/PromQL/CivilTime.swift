/// A date and time of day in UTC by the proleptic Gregorian calendar.
struct CivilTime {
    let year: Int64
    /// 1 through 12.
    let month: Int64
    /// 1 through 31.
    let day: Int64
    let hour: Int64
    let minute: Int64
    /// 0 for Sunday.
    let dayOfWeek: Int64

    /// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    init(secondsSinceEpoch seconds: Int64) {
        let days = floorDivision(seconds, 86_400)
        let remainder = seconds % 86_400
        let ofDay = remainder < 0 ? remainder + 86_400 : remainder
        hour = ofDay / 3600
        minute = ofDay % 3600 / 60
        let weekday = (days + 4) % 7
        dayOfWeek = weekday < 0 ? weekday + 7 : weekday
        let shifted = days + 719_468
        let era = floorDivision(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayFromMarch = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayFromMarch + 2) / 153
        day = dayFromMarch - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    var daysInMonth: Int64 {
        switch month {
        case 2: isLeapYear ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// 1 through 366.
    var dayOfYear: Int64 {
        let before: [Int64] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
        return before[Int(month - 1)] + day + (month > 2 && isLeapYear ? 1 : 0)
    }
}

private func floorDivision(_ a: Int64, _ b: Int64) -> Int64 {
    let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
    return remainder < 0 ? quotient - 1 : quotient
}
