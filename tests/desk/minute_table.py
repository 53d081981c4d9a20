"""An independent account of business time: a table of every single minute, asked by counting.

It shares no code with the product.
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays


class MinuteTable:
    """Every open minute of a stretch of days, found by looking at the wall clock minute by minute."""

    def __init__(self, origin, days, zone, week, country, subdivision="", own=None):
        self.origin = origin
        free = holidays.country_holidays(country, subdiv=subdivision or None) if country != "none" else ()
        own = own or {}
        place = ZoneInfo(zone)
        by_day = {}
        first = int(origin.timestamp()) // 60
        for index in range(days * 1440):
            local = datetime.fromtimestamp((first + index) * 60, place)
            by_day.setdefault(local.date(), []).append((index, local.hour * 60 + local.minute))
        complete = sorted(by_day)[1:-1]
        self.days = {}
        for day in complete:
            hours = own[day] if day in own else [] if day in free else week[day.weekday()]
            chosen = []
            for opening, closing in hours:
                late_enough = [i for i, wall in by_day[day] if wall >= opening]
                early_enough = [i for i, wall in by_day[day] if wall < closing]
                if late_enough and early_enough:
                    chosen += range(late_enough[0], early_enough[-1] + 1)
            if chosen:
                self.days[day] = (sorted(set(chosen)), by_day[day])
        self.open = sorted({i for minutes, _ in self.days.values() for i in minutes})
        self.day_of = {i: day for day, (minutes, _) in self.days.items() for i in minutes}
        self.business_days = sorted(self.days)

    def index(self, moment):
        return int((moment - self.origin).total_seconds()) // 60

    def moment(self, index):
        return self.origin + timedelta(minutes=index)

    def between(self, start, end):
        return max(0, bisect_left(self.open, self.index(end)) - bisect_left(self.open, self.index(start)))

    def add(self, start, minutes):
        place = bisect_left(self.open, self.index(start))
        return self.moment(self.open[place + minutes - 1] + 1 if minutes else self.open[place])

    def add_days(self, start, count):
        begun = self.open[bisect_left(self.open, self.index(start))]
        day = self.day_of[begun]
        wall = dict(self.days[day][1])[begun]
        target = self.business_days[self.business_days.index(day) + count]
        minutes, clock_face = self.days[target]
        same_time = [i for i, shown in clock_face if shown >= wall]
        due = same_time[0] if same_time else clock_face[-1][0] + 1
        return self.moment(min(max(due, minutes[0]), minutes[-1] + 1))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)
