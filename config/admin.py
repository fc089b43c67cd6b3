"""The admin site of this project, in the place of django.contrib.admin's own."""

from django.contrib.admin.apps import AdminConfig

from routers.admin import MultiDBAdminSite


class SiteAdmin(MultiDBAdminSite):
    site_title = site_header = "Multi-Database Django"
    index_title = "Every model, on its own database"


class SiteAdminConfig(AdminConfig):
    default_site = "config.admin.SiteAdmin"
